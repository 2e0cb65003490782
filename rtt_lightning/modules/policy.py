"""The policy: a language model, and the loss that moves it by the advantages of an algorithm."""

from math import nan
from typing import Any

import torch
from torch import Tensor

from rtt_lightning.algorithms import GRPO, Algorithm
from rtt_lightning.algorithms.checks import Returned, checked_credit, refuse_without_logprobs
from rtt_lightning.functional.losses import (
    Distance,
    Ratio,
    adapted_coefficient,
    kl_k3,
    sequence_ratio,
    token_mean,
    token_ratio,
)
from rtt_lightning.lm.loading import Lora, adapters_count
from rtt_lightning.metrics import Evaluation, UpdateMeans, reference_distance_name
from rtt_lightning.modules.model import PolicyModel
from rtt_lightning.modules.surrogate import Surrogate
from rtt_lightning.modules.training import OptimizerCallable
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.logs import MetricLog
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.batches import ResponseBatch, Sequences, VerdictBatch
from rtt_lightning.types.errors import UserError

KL_KEY = "kl_coef"
"""Key of the weight of the KL that the next update has, if it follows a target."""


class PolicyModule(PolicyModel):
    """A language model trained on rubrics with the advantages of an algorithm and the clipped surrogate of PPO.

    Args:
        model: Folder or hub name of an instruct model.
        algorithm: Turns judged responses into advantages, see `rtt_lightning.algorithms`.
        lora: Adapters over a frozen base; null trains all weights in fp32.
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
        clip_low: The probability ratio is clipped below 1 - clip_low.
        clip_high: The probability ratio is clipped above 1 + clip_high.
        ratio: What that ratio is: `token_ratio`, `sequence_token_ratio` or `sequence_ratio`, from
            `rtt_lightning.functional.losses`. The last allows no token credit.
        dual_clip: The loss of a token with a negative advantage is at most this (> 1) times the advantage, however
            likely it has become; null for no bound.
        importance_cap: Weigh the loss of a token by its probability under the policy / under the sampler, at most this
            (>= 1): corrects for a sampler that computes otherwise or has older weights. Null for no weights. Needs
            top_p 1, top_k 0 and a temperature above 0.
        kl_coef: Weight of the KL to the reference in the loss; 0 leaves it out.
        kl: Estimator of that KL, from `rtt_lightning.functional.losses`.
        kl_target: KL to aim at, in nats per response: each update raises the weight where the KL was above it, and
            lowers it where it was below, down to kl_coef; null keeps kl_coef. Needs kl_coef above 0, and sampling as
            importance_cap does.
        kl_gain: How fast: one update changes the weight by at most a fifth of this (below 5).
        entropy_coef: Weight of an entropy bonus.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
        trust_remote_code: Run code that comes with a model folder or from the hub.
        skip_nonfinite: Updates in a row to skip because a number in them is not finite; 0 ends the run.
    """

    def __init__(
        self,
        model: str,
        algorithm: Algorithm = lazy_instance(GRPO),
        lora: Lora | None = Lora(),
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_steps: int = 0,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        ratio: Ratio = token_ratio,
        dual_clip: float | None = None,
        importance_cap: float | None = None,
        kl_coef: float = 0.0,
        kl: Distance = kl_k3,
        kl_target: float | None = None,
        kl_gain: float = 0.1,
        entropy_coef: float = 0.0,
        gradient_checkpointing: bool = False,
        trust_remote_code: bool = False,
        skip_nonfinite: int = 0,
    ) -> None:
        if not isinstance(algorithm, Algorithm):
            raise UserError(f"algorithm must be an Algorithm such as GRPO(), got {algorithm!r}; adapters are lora=...")
        if kl_target is not None and not (kl_target > 0 and kl_coef > 0 and 0 < kl_gain < 5):
            raise UserError(
                "kl_target must be above 0, and needs kl_coef above 0 to start from and kl_gain between 0 and 5; got "
                f"kl_target {kl_target}, kl_coef {kl_coef} and kl_gain {kl_gain}"
            )
        surrogate = Surrogate(clip_low, clip_high, dual_clip, ratio, importance_cap)
        kind = gradient_checkpointing, trust_remote_code, skip_nonfinite
        super().__init__(model, lora, optimizer, warmup_steps, *kind)
        self.algorithm, self.surrogate = algorithm, surrogate
        self.kl_coef, self.kl, self.entropy_coef = kl_coef, kl, entropy_coef
        self.kl_target, self.kl_gain, self.least_kl_coef = kl_target, kl_gain, kl_coef
        if ratio is sequence_ratio and (self.token_credit or algorithm.weighs_tokens):
            raise UserError(
                f"the token credit of {self.scheme} would cancel: with sequence_ratio only the mean advantage of a "
                "response counts; set ratio to rtt_lightning.functional.losses.sequence_token_ratio"
            )
        self._means = UpdateMeans()
        self.evaluation = Evaluation()
        self._log_metrics = MetricLog()

    # -- the reward scheme ---------------------------------------------------------------------------------------

    @property
    def has_own_scheme(self) -> bool:
        """Whether a subclass gives the credit, not the algorithm."""
        return type(self).advantages is not PolicyModule.advantages

    @property
    def scheme(self) -> str:
        """The class that gives the credit, for messages."""
        return type(self if self.has_own_scheme else self.algorithm).__name__

    @property
    def smallest_group(self) -> int:
        """Fewest responses per prompt that the scheme learns from; 1 if it does not compare responses."""
        return self.algorithm.smallest_group

    @property
    def token_credit(self) -> bool:
        """Whether the scheme reads the relevance of tokens."""
        return self.algorithm.token_credit

    def advantages(self, experience: Experience) -> Returned:
        """The credit of a window, from the algorithm. The one method that a subclass with its own scheme overrides.

        Args:
            experience: The judged rollouts of a window, whole groups.

        Returns:
            What an algorithm returns; or, without rewards, a pair of ``[batch token]`` advantages and scalars to log.
        """
        return self.algorithm(experience)

    def credit(self, experience: Experience) -> Credited:
        """The result of `advantages`, checked.

        Raises:
            UserError: As `checked_credit` and, with importance weights, `refuse_without_logprobs`.
        """
        if self.surrogate.importance_cap is not None:
            refuse_without_logprobs(experience)
        return checked_credit(self.advantages(experience), experience, self.scheme)

    # -- the loss ------------------------------------------------------------------------------------------------

    def training_step(self, batch: ResponseBatch, batch_idx: int) -> Tensor:
        mask = batch["response_mask"]
        logprobs, entropy = self.response_logprobs(batch)
        old_logprobs = batch.get("old_logprobs", logprobs.detach())  # one update per window: ratio 1, gradient kept
        loss, metrics = self.surrogate(logprobs, old_logprobs, batch)
        metrics |= {"entropy": entropy}
        if self.kl_coef:
            kl = self.kl(logprobs, self.reference_logprobs(batch))
            name = reference_distance_name(batch["full_vocabulary"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
            metrics[name] = kl
            self._means.add(mask.any(1), **{f"{name}_per_response": torch.where(mask, kl, 0.0).sum(1)})
            loss = loss + self.kl_coef * kl
        if self.entropy_coef:
            loss = loss - self.entropy_coef * entropy
        self._means.add(mask, loss=loss, **metrics)
        gap = (batch["sampler_logprobs"] - old_logprobs).abs()  # both of the same weights, unless sampled ahead
        self._means.add(mask & ~batch["sampler_logprobs"].isnan(), logprob_gap=gap)
        if batch["last_of_update"]:
            self._end_update(rows=len(mask))
        return token_mean(loss, mask, batch["update_tokens"], batch["micro_batches"], self.trainer.world_size)

    # -- the weight of the KL ------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.kl_target is not None:
            checkpoint[KL_KEY] = self.kl_coef

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.kl_target is not None:
            self.kl_coef = checkpoint.get(KL_KEY, self.kl_coef)

    def _end_update(self, rows: int) -> None:
        """Log its means, and adapt the weight of the KL, the same on all processes. A collective."""
        means = self._means.pop()
        if self.kl_target is not None:
            measured = float(means.get("kl_per_response", nan))
            means[KL_KEY] = torch.tensor(self.kl_coef)
            rule = self.kl_target, self.kl_gain, self.least_kl_coef
            self.kl_coef = adapted_coefficient(self.kl_coef, measured, *rule)
        self._log_metrics(self, "train", means, batch_size=rows)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def validation_step(self, batch: VerdictBatch, batch_idx: int) -> None:
        self.evaluation.accuracy.update(batch["met"], batch["scorable"], batch["weights"])
        full_vocabulary = batch["full_vocabulary"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        self.evaluation.reference.update(*self.compared_logprobs(batch), batch["response_mask"], full_vocabulary)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics(self, "val", self.evaluation.pop(), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self._log_metrics(self, "test", self.evaluation.pop(), sync_dist=True)

    def compared_logprobs(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """Log-probs of sampled tokens under the policy and under the reference, ``[batch token]``. A collective."""
        logprobs = batch["sampler_logprobs"]
        # All processes run the policy or none does, also without data: its forward has collectives.
        if sum_over_ranks(logprobs[batch["response_mask"]].isnan().sum().float()):
            logprobs, _ = self.response_logprobs(batch)
        return logprobs, self.reference_logprobs(batch) if adapters_count(self.model) else logprobs

    test_step = validation_step

    def predict_step(self, batch: VerdictBatch, batch_idx: int) -> None:
        """Does nothing: the rollout callback samples, judges and writes completions."""
