"""A line of progress per update, the same on a terminal and in a log file."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from rtt_lightning.functional.accuracy import LOWER, RUBRIC, UPPER
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.runtime.terminal import EVERY_SECONDS, duration
from rtt_lightning.types.errors import UserError

LEGEND = """a line per update, of what is known: mean reward, rubric-level/instruction-level
accuracy (bounds of the latter where criteria are undecided), tokens per
response, KL to the reference in nats per response, share of live cells,
seconds (time left); docs/metrics.md explains each"""
DISCRIMINATOR_LEGEND = """a line per update: cross entropy per response token in nats (of its last
micro-batch), seconds (time left); docs/metrics.md explains what is logged"""
COLUMNS = (
    ("length", "rollout/length", ".0f"),
    ("KL", "train/kl_per_response", ".3g"),
    ("live", "rollout/live_cells", ".2f"),
)


class Progress(Callback):
    """Prints a line per update, and one a minute during a long evaluation.

    Args:
        every: Updates between two lines; 0 for none at all.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 0:
            raise UserError(f"progress.every must be at least 0, got {every}")
        self.every = every
        self._step = self._first = 0
        self._began = self._said = 0.0  # of training
        self._evaluating = self._heard = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = self._first = trainer.global_step
        self._began = self._said = time.monotonic()
        if self.every and trainer.is_global_zero:
            sizes = [(parameter.numel(), parameter.requires_grad) for parameter in pl_module.parameters()]
            trained, all_of = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
            print(
                f"{type(pl_module).__name__}: {trained / 1e6:,.1f} of {all_of / 1e6:,.1f} million weights are trained"
            )
            print(DISCRIMINATOR_LEGEND if isinstance(pl_module, DiscriminatorModule) else LEGEND, flush=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, total = trainer.global_step, updates_of(trainer)
        if step == self._step or not self.every or (step % self.every and step != total):
            return
        self._step, now = step, time.monotonic()
        left = None if total is None else (total - step) * (now - self._began) / (step - self._first)
        if trainer.is_global_zero:
            print(update_line(step, total, trainer.callback_metrics, now - self._said, left), flush=True)
        self._said = now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluating = self._heard = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        now = time.monotonic()
        if self.every and trainer.is_global_zero and now - self._heard >= EVERY_SECONDS:
            self._heard = now
            print(f"batches evaluated: {batch_idx + 1}, after {duration(now - self._evaluating)}", flush=True)

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end


def updates_of(trainer: Trainer) -> int | None:
    """Updates of the whole run, from its limit of steps, else of epochs; ``None`` without either."""
    if trainer.max_steps >= 0:
        return trainer.max_steps
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return None
    return int(trainer.max_epochs * trainer.num_training_batches // trainer.accumulate_grad_batches)


def update_line(
    step: int, total: int | None, metrics: Mapping[str, Tensor | float], seconds: float, left: float | None
) -> str:
    """The line for an update: at most 80 characters in the usual ranges.

    Args:
        step: Updates so far.
        total: Updates of the run; ``None`` if unknown.
        metrics: Logged last; unknown ones are left out.
        seconds: Since the previous line.
        left: Seconds to the end; ``None`` if unknown.
    """
    words = [f"{step}" if total is None else f"{step:>{len(str(total))}}/{total}"]
    if "rollout/length" not in metrics and "train/loss" in metrics:  # a discriminator's
        words.append(f"loss {metrics['train/loss']:.4f}")
    if "rollout/reward" in metrics:
        words.append(f"reward {metrics['rollout/reward']:.2f}")
    if accuracy := _accuracy(metrics):
        words.append(f"accuracy {accuracy}")
    words += [f"{label} {metrics[name]:{kind}}" for label, name, kind in COLUMNS if name in metrics]
    words.append(f"{duration(seconds)} ({duration(left)})" if left else duration(seconds))
    return " ".join(words)


def _accuracy(metrics: Mapping[str, Tensor | float]) -> str:
    """``rubric/instruction``; the bounds of the latter where they differ."""
    rubric, low, high = (metrics.get(f"rollout/{name}") for name in (RUBRIC, LOWER, UPPER))
    if rubric is None or low is None or high is None:
        return ""
    return f"{rubric:.2f}/{low:.2f}" if low == high else f"{rubric:.2f}/{low:.2f}-{high:.2f}"
