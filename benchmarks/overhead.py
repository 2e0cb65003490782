"""What Lightning takes around a step: `trainer.fit` against a loop of training step, backward and optimiser.

The same policy, optimiser and micro-batches, in turn, in CPU time. What `fit` does beyond the loop: hooks, the check
that loss, gradient and weights are finite, and the log. On a busy machine the ratio of two runs is vague: beside it
stands the share of a `fit` that lies outside the loop's three parts, by one clock within it.

    python -m benchmarks.overhead --model models/SmolLM2-135M-Instruct
"""

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks.machine import describe
from benchmarks.update import Work, group
from benchmarks.update_ours import batch_of
from rtt_lightning.modules import PolicyModule

SMALL = Work("small", prompt=40, low=24, high=48, lora=True, responses=4)


class Clock(Callback):
    """CPU seconds of the training loop: all, and those within training step, backward and optimiser."""

    def __init__(self) -> None:
        self.all = self.within = 0.0

    def enter(self, *_: Any) -> None:
        self.since = time.process_time()

    def leave(self, *_: Any) -> None:
        self.within += time.process_time() - self.since

    on_before_backward, on_after_backward = enter, leave

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not batch_idx:
            self.start = time.process_time()
            trainer.optimizers[0].register_step_post_hook(self.leave)

    def on_train_batch_end(self, *_: Any) -> None:
        self.all = time.process_time() - self.start


class Timed(PolicyModule):
    """Tells a clock when its training step begins and ends, and when its optimiser begins."""

    clock: Clock

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.clock.enter()
        loss = super().training_step(batch, batch_idx)
        self.clock.leave()
        return loss

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        super().configure_gradient_clipping(*args, **kwargs)
        self.clock.enter()  # the last before the optimiser, which called all of this


def fit(policy: Timed, batch: Any, steps: int) -> tuple[float, float]:
    """CPU seconds per step of `trainer.fit`, and those of them within the three parts."""
    clock = policy.clock = Clock()
    trainer = trainer_of(steps, [clock])
    trainer.fit(policy, DataLoader([batch | {"last_of_update": True}] * steps, batch_size=None))
    return clock.all / steps, clock.within / steps


def bare(policy: Timed, batch: Any, steps: int) -> float:
    """CPU seconds per step of a loop, which logs nothing."""
    policy.trainer, policy.clock = trainer_of(steps, []), Clock()
    optimizer = policy.configure_optimizers()
    policy.train()
    start = time.process_time()
    for number in range(steps):
        with policy.trainer.precision_plugin.train_step_context():
            loss = policy.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.process_time() - start
    policy._means.pop()
    return seconds / steps


def trainer_of(steps: int, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        accelerator="cpu", devices=1, precision="bf16-mixed", max_steps=steps, callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


def main(
    model: str = "models/SmolLM2-135M-Instruct", steps: int = 3, repeats: int = 5, output: str | None = None
) -> None:
    """Time both in turn, after once for nothing.

    Args:
        model: Folder of the model.
        steps: Of each, in a row.
        repeats: Turns that count.
        output: JSON file for what is printed.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = Timed(model)
    policy.trainer = trainer_of(0, [])
    policy.configure_model()
    batch = batch_of(group(SMALL))
    turns = [(bare(policy, batch, steps), *fit(policy, batch, steps)) for _ in range(repeats + 1)][1:]
    ratios = [whole / loop for loop, whole, _ in turns]
    outside = [whole / within - 1 for _, whole, within in turns]
    loop, whole, _ = (median(times) for times in zip(*turns, strict=True))
    print(f"a step: loop {loop:.3f} s, trainer.fit {whole:.3f} s of CPU")
    print(f"ratio {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")
    print(f"outside the parts {median(outside):.1%} ({min(outside):.1%}-{max(outside):.1%})")
    found = {"machine": describe(), "work": SMALL._asdict(), "steps": steps, "turns": turns}
    found |= {"ratio": ratios, "outside": outside}
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
