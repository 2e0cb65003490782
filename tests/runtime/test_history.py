"""A resumed run has one history in its logs."""

import csv
from pathlib import Path

import pytest

from rtt_lightning.commands.run import main

OTHERWISE = ("time/", "watch/")
"""Figures that depend on the machine, and those of the last look, which Lightning repeats until the next."""


def run(policy_args, folder: Path, updates: int, *more: str, version: str) -> None:
    class_path = "rtt_lightning.Checkpoints"
    main(
        policy_args(
            "fit",
            f"--trainer.callbacks=[{{class_path: {class_path}, init_args: {{folder: {folder}/ck, every: 1}}}}]",
            "--trainer.enable_checkpointing=true",
            "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
            f"--trainer.logger.init_args.save_dir={folder}/logs",
            f"--trainer.max_steps={updates}",
            *([f"--trainer.logger.init_args.version={version}"] if version else []),
            *more,
        )
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        read = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith(OTHERWISE)} for row in read]


@pytest.mark.parametrize("version", ["", "mine"])
def test_a_csv_file_is_that_of_the_unbroken_run(policy_args, tmp_path: Path, version: str) -> None:
    run(policy_args, tmp_path / "whole", 4, version=version)
    run(policy_args, tmp_path / "broken", 3, version=version)
    second = f"--ckpt_path={tmp_path}/broken/ck/step-00000002.ckpt"  # the third update is done again
    run(policy_args, tmp_path / "broken", 4, second, version=version)
    (whole,), (broken,) = ((tmp_path / name / "logs").rglob("metrics.csv") for name in ("whole", "broken"))
    assert rows(broken) == rows(whole)
    assert sorted({int(row["step"]) for row in rows(whole)}) == [0, 1, 2, 3]
