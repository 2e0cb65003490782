"""Watch the gap between the sampler's log-probs and the trainer's: it shows stale or wrong weights first."""

import math
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.engines.base import FEW_TOKENS, SampleRequest, Sampling
from rtt_lightning.lm.sequences import on_device, sequences
from rtt_lightning.runtime.phases import IDLE
from rtt_lightning.runtime.processes import gather
from rtt_lightning.types import OutsideFailure, Rollout
from rtt_lightning.types.errors import UserError

GAP = "train/logprob_gap"
FIRST_GAP = "rollout/logprob_gap"


class Canary(Callback):
    """Warns when the sampler drifts from the policy, and stops the run before it trains on another model's samples.

    The gap is the mean over response tokens of |log-prob of the sampler - log-prob of the trainer|. It is 0.00001
    between equal computations in fp32 and 0.03 to 0.05 for a sampler in bf16. It is measured

    - on all tokens of an update, before the update changes anything, where the engine gives log-probs; logged as
      ``train/logprob_gap``. It costs nothing: the loss needs the trainer's log-probs. With ``rollout.ahead`` 1 it
      includes what the updates of a window changed.
    - on a few tokens sampled without top-p and top-k, whenever the engine got new weights and before its responses are
      trained on or counted: in evaluation, and where training samples under top-p or top-k, whose log-probs are not the
      policy's. Logged in training as ``rollout/logprob_gap``.

    Args:
        rollout: Its responses and engine are watched.
        warn: Gap, in nats, above which there is a warning, once.
        stop: Gap, in nats, above which the run ends.
    """

    def __init__(self, rollout: RolloutCallback, warn: float = 0.15, stop: float = 1.0) -> None:
        if not 0 < warn <= stop:
            raise UserError(f"canary needs 0 < warn <= stop, got {warn} and {stop}")
        self.rollout, self.warn, self.stop = rollout, warn, stop
        self._warned = False
        self._seen: int | None = None  # version of the weights checked last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._seen = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.rollout.sampling.full_vocabulary:
            return  # the update compares all tokens
        with self.rollout.phases.during(IDLE):
            gap = self._new_weights(trainer, pl_module, self.rollout.sampling)
        if gap is not None:
            pl_module.log(FIRST_GAP, gap, batch_size=1)
            self._judge(gap, "Nothing was trained on its responses")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        gap = self._new_weights(trainer, pl_module, self.rollout.evaluation)
        if gap is not None:
            self._judge(gap, "Its responses were not evaluated")

    on_test_batch_start = on_validation_batch_start
    on_predict_batch_start = on_validation_batch_start

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        gap = trainer.callback_metrics.get(GAP)  # absent where the sampler gave no log-probs
        if gap is not None and not gap.isnan():  # NaN ends the run or skips the update
            self._judge(float(gap), "This update changed nothing")

    @torch.no_grad()
    def _new_weights(self, trainer: Trainer, policy: Any, sampling: Sampling) -> float | None:
        """The largest gap of a response of a few tokens; ``None`` for weights checked before, or without log-probs."""
        version = self.rollout.collector.version
        if version in (None, self._seen):
            return None
        self._seen = version
        with trainer.precision_plugin.forward_context():
            few = [row for row in _few(self.rollout, version, sampling) if row.logprobs is not None]
            batch = on_device(sequences(few), policy.device)
            logprobs, _ = policy.response_logprobs(batch)
        gaps = (logprobs - batch["sampler_logprobs"]).abs()
        rows = [float(gap[mask].mean()) for gap, mask in zip(gaps, batch["response_mask"], strict=True)]
        return max((gap for gaps in gather(rows) for gap in gaps), key=_nan_first, default=None)

    def _judge(self, gap: float, consequence: str) -> None:
        reason = f"sampler and trainer differ by {gap:.3f} nats per token in their log-probs"
        if not gap <= self.stop:  # also for NaN
            raise OutsideFailure(
                f"{reason}, more than canary.stop = {self.stop}: the sampler has other weights, another model or "
                f"another temperature. {consequence}"
            )
        if gap > self.warn and not self._warned:
            self._warned = True
            warnings.warn(f"{reason}, more than canary.warn = {self.warn}; see logprob_gap in the log", stacklevel=3)


def _nan_first(gap: float) -> float:
    return math.inf if math.isnan(gap) else gap


def _few(rollout: RolloutCallback, version: int, sampling: Sampling) -> list[Rollout]:
    """Responses of a few tokens from the engine's current weights, with log-probs over the full vocabulary."""
    first = [item.rollout for item in rollout.judged[:1]]
    if sampling.full_vocabulary:
        return [row.first(FEW_TOKENS) for row in first]
    requests = [SampleRequest(row.prompt_id, 0, row.prompt_ids, (0,)) for row in first]
    return [*rollout.collector.engine.probe(requests, sampling, version)]
