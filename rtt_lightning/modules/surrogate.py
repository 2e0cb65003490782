"""The clipped surrogate with its options: what a policy minimises, but for KL and entropy."""

from dataclasses import dataclass
from math import inf

from torch import Tensor

from rtt_lightning.algorithms.checks import taking
from rtt_lightning.functional.losses import Ratio, clipped_surrogate, importance_weights
from rtt_lightning.types.batches import ResponseBatch
from rtt_lightning.types.errors import UserError


@dataclass(frozen=True)
class Surrogate:
    """Settings of `PolicyModule`, under the same names, and the loss that they make.

    Raises:
        UserError: For a bound that is none, or a ratio that takes other arguments.
    """

    clip_low: float
    clip_high: float
    dual_clip: float | None
    ratio: Ratio
    importance_cap: float | None

    def __post_init__(self) -> None:
        taking(self.ratio, "logprobs", "old_logprobs", "mask")
        if self.dual_clip is not None and not 1 < self.dual_clip < inf:
            raise UserError(f"dual_clip must be finite and > 1, such as 3, or null for none, got {self.dual_clip}")
        if self.importance_cap is not None and not 1 <= self.importance_cap < inf:
            raise UserError(
                f"importance_cap must be finite and >= 1, or null for no weights, got {self.importance_cap}"
            )

    def __call__(
        self, logprobs: Tensor, old_logprobs: Tensor, batch: ResponseBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss per token, and metrics per token; all ``[batch token]``."""
        log_ratio = self.ratio(logprobs, old_logprobs, batch["response_mask"])
        bounds = self.clip_low, self.clip_high, self.dual_clip
        loss, clipped = clipped_surrogate(log_ratio, batch["advantages"], *bounds)
        metrics = {"clipped": clipped.float()}
        if self.importance_cap is not None:
            weights, capped = importance_weights(old_logprobs, batch["sampler_logprobs"], self.importance_cap)
            loss = loss * weights
            metrics |= {"importance_weight": weights, "importance_capped": capped.float()}
        return loss, metrics | {"policy_loss": loss}
