"""The line of an update, and when there is one."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from rtt_lightning.callbacks import progress
from rtt_lightning.callbacks.progress import Progress, update_line
from rtt_lightning.commands.run import main
from tests.modules.test_discriminator import discriminator_args

FIGURES = {
    "rollout/reward": 0.6149,
    "rollout/rubric_accuracy": 0.634,
    "rollout/instruction_accuracy_lower_bound": 0.25,
    "rollout/instruction_accuracy_upper_bound": 0.25,
    "rollout/length": 81.6,
    "rollout/live_cells": 0.8125,
    "train/kl_per_response": 1.3141,
    "train/loss": 0.1,
}
LINE = re.compile(r"^ ?\d+/\d+ .*\bs\b")


def test_what_is_known_of_an_update_stands_in_a_line() -> None:
    line = update_line(12, 960, FIGURES, 6.21, 5400.0)
    assert line == " 12/960 reward 0.61 accuracy 0.63/0.25 length 82 KL 1.31 live 0.81 6.2 s (90 min)"
    assert len(line) <= 81


def test_undecided_criteria_leave_bounds_and_unknown_figures_are_left_out() -> None:
    undecided = FIGURES | {"rollout/instruction_accuracy_upper_bound": 0.5}
    del undecided["train/kl_per_response"], undecided["rollout/reward"]
    line = update_line(3, None, undecided, 48.0, None)
    assert line == "3 accuracy 0.63/0.25-0.50 length 82 live 0.81 48 s"
    assert update_line(2, 2, {"train/loss": 0.25}, 2.0, 0.0) == "2/2 loss 0.2500 2.0 s"  # of a discriminator


def test_a_run_says_what_it_trains_and_a_line_per_update(policy_args, capsys: pytest.CaptureFixture[str]) -> None:
    main(policy_args("fit", "--trainer.max_steps=4"))
    out = capsys.readouterr().out.splitlines()
    assert any(line.startswith("PolicyModule: 0.0 of 1.6 million weights are trained") for line in out)
    assert "a line per update, of what is known: mean reward" in "\n".join(out)
    lines = [line for line in out if LINE.match(line)]
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("accuracy" in line and "live" in line for line in lines)
    assert ["(" in line for line in lines] == [True, True, True, False]


def test_a_discriminator_s_lines_are_explained_as_its_own(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(discriminator_args(tmp_path, tiny_model, "--trainer.max_steps=1", "--trainer.limit_val_batches=0"))
    out = capsys.readouterr().out
    assert "a line per update: cross entropy per response token" in out
    assert not re.search("reward|accuracy|KL", out)
    assert re.search(r"^1/1 loss \d\.\d{4} ", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


def test_every_thins_the_lines_out_but_for_the_last(policy_args, capsys: pytest.CaptureFixture[str]) -> None:
    main(policy_args("fit", "--trainer.max_steps=5", "--progress.every=3"))
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if LINE.match(line)]
    assert lines == ["3/5", "5/5"]
    main(policy_args("fit", "--progress.every=0"))
    assert "weights are trained" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"progress\.every must be at least 0, got -1"):
        Progress(-1)


def test_a_long_evaluation_is_heard_of(
    policy_args, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    main(policy_args("validate", "--trainer.limit_val_batches=null", "--data.view.init_args.eval_prompts=2"))
    assert len(re.findall(r"^batches evaluated: \d, after", capsys.readouterr().out, re.MULTILINE)) == 2


def test_all_settings_stand_in_loggers_and_checkpoints(policy_args, tmp_path: Path) -> None:
    logger = (
        f"--trainer.logger={{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}}}}}"
    )
    saves = (
        f"{{class_path: rtt_lightning.callbacks.checkpoints.Checkpoints, init_args: {{folder: {tmp_path}, every: 1}}}}"
    )
    saved = ("--trainer.enable_checkpointing=true", f"--trainer.callbacks+={saves}")
    main(policy_args("fit", logger, *saved, "--model.init_args.clip_high=0.27"))
    [logged] = tmp_path.rglob("hparams.yaml")
    assert yaml.safe_load(logged.read_text())["model"]["init_args"]["clip_high"] == 0.27
    checkpoint = min(tmp_path.rglob("*.ckpt"))
    config = yaml.safe_load(torch.load(checkpoint, weights_only=True)["config"])
    assert config["model"]["init_args"]["clip_high"] == 0.27
