"""Keeps one history of a run in its logs, however often it is resumed."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

HISTORY_KEY = "logs"
"""Key of the logs that a run writes to in a checkpoint."""


def log_places(loggers: Sequence[Logger]) -> list[dict[str, Any]]:
    """What identifies the log of each logger, as numbers and strings."""
    return [{**_place(logger), "version": logger.version} for logger in loggers]


def continue_logs(loggers: Sequence[Logger], checkpoint: Mapping[str, Any]) -> None:
    """Make loggers continue the logs of a checkpoint's run; call it before they write.

    CSV files keep their rows from before the checkpoint, TensorBoard shows only those, and W&B continues the same run.
    A version or id that a logger was given stays. Other loggers start a new log.
    """
    saved = checkpoint.get(HISTORY_KEY, [])
    for logger in loggers:
        known = [place["version"] for place in saved if _place(logger).items() <= place.items()]
        match logger:
            case WandbLogger():
                if known and "id" not in logger._wandb_init:
                    logger._wandb_init |= {"id": known[0], "resume": "allow"}
                    logger._id = known[0]
            case TensorBoardLogger() | CSVLogger():
                if known and logger._version is None:
                    logger._version = known[0]
                if isinstance(logger, TensorBoardLogger):
                    logger._kwargs["purge_step"] = checkpoint["global_step"]
                elif rank_zero_only.rank == 0:  # pyright: ignore[reportFunctionMemberAccess]
                    logger._experiment = _Continued(logger.log_dir, checkpoint["global_step"])


def write_each_row(loggers: Sequence[Logger]) -> None:
    """Make CSV loggers write each row at once: rows in memory would be lost if the run is killed."""
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            logger._flush_logs_every_n_steps = 1


def _place(logger: Logger) -> dict[str, Any]:
    return {"kind": type(logger).__name__, "name": logger.name, "folder": logger.save_dir}


class _Continued(ExperimentWriter):
    """Appends to an existing file, which Lightning would delete."""

    def __init__(self, log_dir: str, updates: int) -> None:
        self._updates = updates
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if int(row["step"]) < self._updates]  # steps count from 0
            self.metrics_keys = list(reader.fieldnames or [])
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)
