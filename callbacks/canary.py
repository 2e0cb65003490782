"""A watch over the gap between the sampler's log-probs and the trainer's: the first sign of stale or wrong weights."""

import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from rtt_lightning.types import OutsideFailure

GAP = "train/logprob_gap"


class Canary(Callback):
    """Warns of a sampler that drifts away from the policy, and stops the run before it trains on another's samples.

    The gap is the mean over an update's response tokens of |log-prob of the sampler - log-prob of the trainer|. It is
    0.00001 between equal computations in fp32 and 0.03 to 0.05 for a sampler in bf16. Samplers that give no log-probs,
    as under top-p or top-k, are not watched.

    Args:
        warn: Gap, in nats, above which there is a warning, once.
        stop: Gap, in nats, above which the run ends.
    """

    def __init__(self, warn: float = 0.15, stop: float = 1.0) -> None:
        if not 0 < warn <= stop:
            raise ValueError(f"canary needs 0 < warn <= stop, got {warn} and {stop}")
        self.warn, self.stop = warn, stop
        self._warned = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        gap = float(trainer.callback_metrics.get(GAP, 0.0))  # NaN, of no log-probs, is neither
        reason = f"sampler and trainer differ by {gap:.3f} nats per token in their log-probs"
        if gap > self.stop:
            raise OutsideFailure(
                f"{reason}, more than canary.stop = {self.stop}: the sampler has other weights, another model or "
                "another temperature. This update was the first to see it; resume from the checkpoint before it"
            )
        if gap > self.warn and not self._warned:
            self._warned = True
            warnings.warn(f"{reason}, more than canary.warn = {self.warn}; see {GAP} in the log", stacklevel=2)
