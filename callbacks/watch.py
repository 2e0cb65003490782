"""Watch for reward hacking: rewards that rise while quality does not."""

import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rtt_lightning.callbacks.cost import judged_by_watch, say_cost
from rtt_lightning.callbacks.neutral import neutral_text
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.callbacks.start import refuse_undecidable
from rtt_lightning.datamodules import PromptWindows, RubricDataModule
from rtt_lightning.functional.agreement import Agreement, agreements
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import JudgedRollout
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.forecast import Expected
from rtt_lightning.verifiers.judging import judge_again


class RewardWatch(Callback):
    """Measures the responses of every N-th window independently of the reward, logs the results, and warns.

    - ``watch/length_drift``: mean length relative to the first window's, minus 1.
    - ``watch/coherence``: mean log-prob per token under the reference, if the policy has one (adapters, or a KL in its
      loss): fluent text is near -1, gibberish far below.
    - ``watch/neutral_text``, ``watch/neutral_text_reference``: mean log-prob per token of a fixed text that no
      criterion asks for, under the policy and under its reference.
    - ``watch/optimism``, with a judge: share of criteria that training counts as desired, minus the same by the judge,
      over the criteria that both decide. It rises when a policy learns to please its own verifier. And
      ``watch/agreement``.

    Every window logs `rtt_lightning.reports.hacking.hacking_metrics` as well, under ``rollout/``.

    Args:
        rollout: Its responses are watched.
        judge: A held-out judge, with another model, template or rules than in training.
        every: Windows between two measurements.
        responses: Responses per measurement and process that the judge is asked about.
        alarm: Warn if the optimism has risen by more than this since the first measurement.
        drift: Warn if the absolute length drift exceeds this.
    """

    def __init__(
        self,
        rollout: RolloutCallback,
        judge: Verifier | None = None,
        every: int = 10,
        responses: int = 16,
        alarm: float = 0.15,
        drift: float = 0.5,
    ) -> None:
        if every < 1 or responses < 1 or alarm <= 0 or drift <= 0:
            raise UserError(
                f"watch needs every and responses >= 1, alarm and drift > 0, got {every}, {responses}, {alarm}, {drift}"
            )
        self.rollout = rollout
        self.judge, self.every, self.responses, self.alarm, self.drift = judge, every, responses, alarm, drift
        self._first: dict[str, float] = {}
        self._warned: set[str] = set()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if self.judge is not None and stage == TrainerFn.FITTING and isinstance(trainer.datamodule.view, PromptWindows):
            say_cost(self.judge, self.expected(trainer, trainer.datamodule))
            refuse_undecidable(trainer.datamodule, self.judge)

    def expected(self, trainer: Any, data: RubricDataModule) -> list[Expected]:
        """The responses that the held-out judge will see."""
        return judged_by_watch(trainer, data, self.rollout.sampling, self.every, self.responses)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch.get("micro_batch") != 0 or batch["window"] % self.every:
            return
        judged = self.rollout.judged
        seen: dict[str, Any] = {"length_drift": self._length_drift(judged)}
        reference = pl_module.lora is not None or pl_module.kl_coef > 0
        seen |= neutral_text(trainer, pl_module, reference)
        if reference:
            with trainer.precision_plugin.forward_context():
                logprobs, mask = pl_module.reference_logprobs(batch), batch["response_mask"]
            total, tokens = sum_over_ranks(logprobs[mask].sum()), sum_over_ranks(mask.sum().float())
            seen["coherence"] = float(total / tokens.clamp(min=1))
        if self.judge is not None:
            seen |= self._second_opinion(self.judge, judged[: self.responses])
        pl_module.log_dict({f"watch/{name}": value for name, value in seen.items()}, batch_size=1)

    def _length_drift(self, judged: list[JudgedRollout]) -> float:
        tokens = sum_over_ranks(torch.tensor(float(sum(len(item.rollout.response_ids) for item in judged))))
        length = float(tokens / sum_over_ranks(torch.tensor(float(len(judged)))).clamp(min=1))
        drift = length / max(self._first.setdefault("length", length), 1.0) - 1
        if abs(drift) > self.drift:
            reason = f"responses are {abs(drift):.0%} {'longer' if drift > 0 else 'shorter'} than in the first window"
            self._warn("length", reason, "watch.drift", self.drift)
        return drift

    def _second_opinion(self, judge: Verifier, judged: list[JudgedRollout]) -> dict[str, float]:
        both = sum(agreements(judged, judge_again(judge, judged)).values(), Agreement())
        both = Agreement(sum_over_ranks(both.counts))
        if not both.decided:
            return {}
        optimism = both.optimism
        rise = optimism - self._first.setdefault("optimism", optimism)
        if rise > self.alarm:
            reason = f"since the start training counts {rise:.0%} more criteria as desired than the held-out judge"
            self._warn("optimism", reason, "watch.alarm", self.alarm)
        return {"optimism": optimism, "agreement": both.accuracy}

    def _warn(self, name: str, reason: str, argument: str, limit: float) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"{reason}, more than {argument} = {limit}: the policy may be hacking its reward", stacklevel=3
            )

    def state_dict(self) -> dict[str, Any]:
        return {"first": dict(self._first), "warned": sorted(self._warned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first, self._warned = dict(state_dict["first"]), set(state_dict["warned"])
