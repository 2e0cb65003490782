"""Seconds of a training step of the demo: sampling, judging, weighing and the update.

    python -m benchmarks.step [--steps 5]      (after `make demo` or with its model unpacked)

The learning rate is 0 and relevance comes from the rules, so that every run does the same work: run it in two checkouts
in turn to compare them. The first steps of a process are slower; start-up is left out.
"""

import time
from itertools import pairwise
from statistics import median
from typing import Any

from jsonargparse import auto_cli
from lightning.pytorch import Callback

from rtt_lightning.commands.run import main as rtt


class Clock(Callback):
    """Wall and CPU time of each step, ``[step]``."""

    def on_train_start(self, *_: Any) -> None:
        self.wall, self.cpu = [time.perf_counter()], [time.process_time()]

    def on_train_batch_end(self, *_: Any) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())


def main(steps: int = 5) -> None:
    """Time steps of 24 responses each.

    Args:
        steps: How many.
    """
    run = rtt([
        "fit", "--config=configs/methods/rtt-demo.yaml", "--config=configs/demo/policy.yaml",
        f"--trainer.max_steps={steps}", "--trainer.max_time=null",
        "--model.init_args.optimizer.init_args.lr=0", "--rollout.relevance=rtt_lightning.RuleSpans",
        "--trainer.limit_val_batches=0", "--trainer.logger=false", "--rollout.output=null", "--rollout.table_every=0",
        "--trainer.callbacks=[{class_path: benchmarks.step.Clock}]",
    ])  # fmt: skip
    [clock] = [callback for callback in run.trainer.callbacks if type(callback).__name__ == Clock.__name__]
    for name, times in (("wall", clock.wall), ("CPU", clock.cpu)):
        seconds = [after - before for before, after in pairwise(times)]
        shown = ", ".join(f"{second:.2f}" for second in seconds)
        print(f"{name}: {shown}; {sum(seconds):.1f} in all, median {median(seconds):.2f}")


if __name__ == "__main__":
    auto_cli(main)
