"""Checkpoints between optimiser updates, and a clean end on SIGTERM and Ctrl-C."""

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rtt_lightning.runtime.checkpoints import checkpoints, newest, point_to
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types.errors import UserError

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Checkpoints(Checkpoint):
    """Saves everything that a resumed run needs to equal the unbroken one.

    A checkpoint is taken after whole optimiser updates only: in the middle of accumulation the gradient would be lost.
    The current window of rollouts is part of it. On SIGTERM, and at the first Ctrl-C, the update is
    finished and saved, and the process exits with code 143 or 130; a second Ctrl-C ends it at once. A time limit also
    waits for the end of the update. Resume with ``--ckpt_path`` and the folder. ``fast_dev_run`` does not touch the
    folder.

    A folder holds one course of training: a run that starts from the beginning raises if there are checkpoints, and a
    run that resumes from an earlier one renames the later ones to ``*.ckpt.abandoned``.

    Args:
        folder: For files ``step-<updates>.ckpt``, and a file ``latest`` that names the newest complete one.
        every: Updates between two checkpoints.
        keep: How many to keep; older ones are deleted. 0 keeps all.
    """

    def __init__(self, folder: str, every: int = 50, keep: int = 2) -> None:
        if every < 1 or keep < 0:
            raise UserError(f"checkpoints need every >= 1 and keep >= 0, got {every} and {keep}")
        self.folder, self.every, self.keep = Path(folder), every, keep
        self._updates = self._saved = 0
        self._update_is_whole = True
        self._should_stop = False
        self._received: set[int] = set()

    def refuse_other_runs(self) -> None:
        """Raise if the folder holds checkpoints: for a run that starts from the beginning they are of another one.

        Raises:
            UserError: With the newest of them.
        """
        if (found := checkpoints(self.folder)) and newest(self.folder):
            raise UserError(
                f"{self.folder} holds checkpoints of another run, up to {found[-1].name}; add "
                f"--ckpt_path {self.folder} to go on with it, or give this run another folder "
                "(--trainer.callbacks.folder NEW, if this callback is the last)"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._updates = self._saved = trainer.global_step
        self._should_stop = False
        self._received.clear()
        if trainer.is_global_zero and not _is_trial(trainer):
            self._set_aside_later_ones(trainer.global_step)
        # Lightning's own handlers stop after any micro-batch and save nothing; they take their places back on teardown.
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _set_aside_later_ones(self, step: int) -> None:
        if not step:
            self.refuse_other_runs()
        for path in (path for path in checkpoints(self.folder) if path.name > _name(step)):
            aside = path.with_name(f"{path.name}.abandoned")
            _delete(aside)
            path.rename(aside)
            rank_zero_warn(f"set {path} aside as {aside.name}: this run resumes from before it")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received.add(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the next one does not wait, wherever the process is
            os.write(2, b"\nCtrl-C: ends after this update; press it again to end at once\n")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._update_is_whole = trainer.global_step != self._updates
        self._should_stop |= trainer.should_stop
        trainer.should_stop = self._should_stop and self._update_is_whole
        if not self._update_is_whole:
            return
        self._updates = trainer.global_step
        received = sum_over_ranks(torch.tensor([float(number in self._received) for number in SIGNALS]))
        if received.any() or self._updates % self.every == 0:
            self.save(trainer)
        for number, times in zip(SIGNALS, received, strict=True):
            if times:
                trainer._logger_connector.update_train_step_metrics()  # Lightning would update them after this hook
                rank_zero_info(
                    f"{number.name}: ends after update {self._updates}; resume with --ckpt_path {self.folder}"
                )
                raise SystemExit(128 + number)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._update_is_whole:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now, point to it, and delete what is too old. All processes must call it."""
        if _is_trial(trainer) or trainer.global_step == self._saved:  # the latter: this run resumed from it
            return
        self._saved = trainer.global_step
        path = self.folder / _name(trainer.global_step)
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            point_to(path)
            for old in checkpoints(self.folder)[: -self.keep] if self.keep else []:
                _delete(old)
        trainer.strategy.barrier()


def _is_trial(trainer: Any) -> bool:
    return bool(trainer.fast_dev_run)


def _name(step: int) -> str:
    return f"step-{step:08d}.ckpt"


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
