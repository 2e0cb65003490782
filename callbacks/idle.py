"""Watch for windows that teach nothing: they cost as much as others, and a loss of 0 looks harmless."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.datamodules.views import PromptWindows
from rtt_lightning.rollout.causes import (
    DEAD_CELLS,
    SKIPPED,
    Cause,
    Evidence,
    cause_of,
    gather_evidence,
    refuse_small_groups,
)
from rtt_lightning.runtime.processes import gather, sum_over_ranks
from rtt_lightning.types import OutsideFailure
from rtt_lightning.types.errors import UserError


class IdleWindows(Callback):
    """Warns of windows that teach nothing, counts them (``rollout/idle_windows``), and ends the run after too many.

    A window is idle if all its advantages are 0 on all processes (nothing could be decided, all responses to a prompt
    get the same reward, or a scheme that takes its credit from cells has no live cell), or if all its updates were
    skipped as not finite. A KL or an entropy bonus in the loss still moves the weights then, but teaches nothing about
    the rubrics. Each kind of cause is warned of once.

    Args:
        rollout: Its windows are watched.
        stop: Idle windows in a row after which the run ends with exit code 1; 0 for never. A small window may be idle
            by chance. A shorter run also ends with code 1 if no window taught anything since nothing could be decided.
    """

    def __init__(self, rollout: RolloutCallback, stop: int = 5) -> None:
        if stop < 0:
            raise UserError(f"idle.stop must be a number of windows, or 0 for never, got {stop}")
        self.rollout, self.stop = rollout, stop
        self._windows = self._in_a_row = self._taught = 0
        self._cause: Cause | None = None  # why the current window is idle
        self._warned: set[str] = set()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit" and isinstance(trainer.datamodule.view, PromptWindows):
            refuse_small_groups(pl_module.smallest_group, self.rollout.sampling.n)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch.get("micro_batch") != 0:  # a discriminator's, or not the first of a window
            return
        credited = self.rollout.credited
        assert credited is not None, "the rollout callback comes first"
        if sum_over_ranks(credited.advantages.any().float()):
            self._cause = None
            return
        found = gather_evidence(self.rollout.judged, credited.rewards, credited.known)
        self._cause = cause_of(sum(gather(found), Evidence()), _cells_are_dead(trainer))
        ends = f"after {self.stop} in a row the run ends (idle.stop)" if self.stop else "the run goes on (idle.stop)"
        self._warn(f"window {batch['window']} teaches nothing: {self._cause}; {ends}", self._cause.fix)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if "window" not in batch or batch["micro_batch"] + 1 < batch["updates"] * trainer.accumulate_grad_batches:
            return
        if self._cause is None and pl_module.skipped_in_a_row >= batch["updates"]:
            self._cause = SKIPPED  # already warned of
        if self._cause is None and _cells_are_dead(trainer):
            self._warn(f"window {batch['window']} has response-level credit alone: {DEAD_CELLS}", DEAD_CELLS.fix)
        self._in_a_row = self._in_a_row + 1 if self._cause else 0
        self._windows += self._cause is not None
        self._taught += self._cause is None
        pl_module.log("rollout/idle_windows", float(self._windows), batch_size=1)
        if self._cause and self._in_a_row >= self.stop:
            self._end(self._cause)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._cause and self._cause.is_fault and not self._taught:
            self._end(self._cause)

    def _end(self, cause: Cause) -> None:
        if self.stop:
            raise OutsideFailure(
                f"{self._in_a_row} windows in a row taught nothing, the last one: {cause}. Then resume with "
                f"--ckpt_path; or raise idle.stop (now {self.stop}), the number of such windows that end a run, or set "
                "it to 0"
            )

    def _warn(self, text: str, kind: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            rank_zero_warn(text)

    def state_dict(self) -> dict[str, Any]:
        cause = self._cause and list(vars(self._cause).values())
        counts = {"windows": self._windows, "in_a_row": self._in_a_row, "taught": self._taught}
        return {**counts, "cause": cause, "warned": sorted(self._warned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._windows, self._in_a_row = state_dict["windows"], state_dict["in_a_row"]
        self._taught = state_dict["taught"]
        self._cause = state_dict["cause"] and Cause(*state_dict["cause"])
        self._warned = set(state_dict["warned"])


def _cells_are_dead(trainer: Trainer) -> bool:
    """Whether the scheme has cells, and no cell of the window is live."""
    return float(trainer.callback_metrics.get("rollout/live_cells", 1.0)) == 0
