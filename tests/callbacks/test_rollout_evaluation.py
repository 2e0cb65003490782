"""The rollout callback in validation and test runs of the tiny policy."""

import csv
import json
from pathlib import Path

import pytest

from rtt_lightning.commands.run import main
from rtt_lightning.datamodules.records import read_judged
from tests.callbacks.ragged import FP32_SGD, rows_of


def test_two_validations_of_the_same_weights_are_equal(policy_args, tmp_path: Path) -> None:
    flags = ("--trainer.limit_val_batches=1.0", "--trainer.val_check_interval=2")
    main(policy_args("fit", *flags, "--model.init_args.optimizer.init_args.lr=0"))
    main(policy_args("validate", "--trainer.limit_val_batches=1.0"))
    names = ("val-000001", "val-000002", "validate")
    without = {"policy_version": None}  # counts the updates, of which an lr of 0 makes none visible
    first, *others = ([row | without for row in rows_of(tmp_path, name)] for name in names)
    assert len(first) == 4
    assert others == [first, first]
    metrics = [json.loads((tmp_path / f"completions/{name}.json").read_text()) for name in names]
    assert len({figure["val/rubric_accuracy"] for figure in metrics}) == 1


def test_an_evaluation_of_a_checkpoint_has_its_step_in_files_and_logs(policy_args, tmp_path: Path) -> None:
    """And lies beside windows without being mixed with them."""
    run = main(policy_args("fit", "--trainer.max_steps=2"))
    run.trainer.save_checkpoint(tmp_path / "policy.ckpt")
    logger = f"{{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}, name: logs}}}}"
    flags = (f"--ckpt_path={tmp_path}/policy.ckpt", f"--trainer.logger={logger}", "--trainer.limit_val_batches=1.0")
    main(policy_args("validate", *flags))
    assert {row["policy_version"] for row in rows_of(tmp_path, "validate-000002")} == {2}
    with (tmp_path / "logs/version_0/metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2"]
    windows = [len(rows_of(tmp_path, f"window-00000{number}")) for number in range(2)]
    assert len(read_judged(tmp_path / "completions")) == sum(windows)


def test_test_scores_the_test_prompts(policy_args, tmp_path: Path) -> None:
    main(policy_args("test", "--data.source.init_args.test=5"))
    rows = rows_of(tmp_path, "test")
    assert [row["id"] for row in rows] == [f"constraints/0/{12 + n}" for n in range(5)]  # behind 8 + 4 others
    metrics = json.loads((tmp_path / "completions/test.json").read_text())
    verdicts = [met for row in rows for met in row["met"]]
    assert metrics["test/rubric_accuracy"] == pytest.approx(sum(verdicts) / len(verdicts))
    assert metrics["test/instruction_accuracy"] == pytest.approx(sum(all(row["met"]) for row in rows) / 5)


def test_validate_takes_the_folder_of_a_trained_model(policy_args, tmp_path: Path) -> None:
    """The folder and the checkpoint hold the same weights, so they say the same; the base says something else."""
    run = main(policy_args("fit", "--trainer.max_steps=1", *FP32_SGD))
    run.trainer.save_checkpoint(tmp_path / "policy.ckpt", weights_only=True)
    run.model.model.save_pretrained(tmp_path / "model")
    run.model.tokenizer.save_pretrained(tmp_path / "model")
    flags = ("--trainer.limit_val_batches=1.0", "--model.init_args.lora=null")
    said = []
    for name, *more in (
        ("validate",),
        ("validate-000001", f"--ckpt_path={tmp_path}/policy.ckpt"),
        ("validate", f"--model.init_args.model={tmp_path}/model"),
    ):
        main(policy_args("validate", *flags, *more))
        said.append([row["response_ids"] for row in rows_of(tmp_path, name)])
    base, from_checkpoint, from_folder = said
    assert base != from_checkpoint == from_folder
