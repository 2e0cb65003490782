"""Rubrics to Tokens (arXiv 2604.02795): GRPO with a token-level advantage beside the response-level one."""

from dataclasses import replace

from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.checks import taking
from rtt_lightning.algorithms.grpo import GRPO
from rtt_lightning.functional.advantages import (
    Combine,
    Partition,
    add,
    gated_intra_sample,
    intra_sample,
    softmax_spread,
)
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Bool, Float


class RTT(Algorithm):
    """A = alpha A_res + beta A_tok (Eq. 7).

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide the response advantage by the group's standard deviation; false is Dr. GRPO.
        partition: The axes that token rewards are normalised over, from `rtt_lightning.functional.advantages`.
        combine: How the two levels combine, from the same module.
        alpha: Weight of the response level.
        beta: Weight of the token level.
        std_floor: Cells whose relevance has a population std of at most this carry noise and contribute 0.
        advantage_clip: Bound on the absolute token-level advantage; null for none, as in the paper.
    """

    def __init__(
        self,
        response_reward: ResponseReward = satisfaction_rate,
        scale_rewards: bool = True,
        partition: Partition = intra_sample,
        combine: Combine = add,
        alpha: float = 1.0,
        beta: float = 0.5,
        std_floor: float = 0.0,
        advantage_clip: float | None = None,
    ) -> None:
        self.response_level = GRPO(response_reward, scale_rewards)
        self.partition = taking(partition, "experience", "std_floor")
        self.combine = taking(combine, "response", "token", "alpha", "beta")
        self.alpha, self.beta, self.std_floor, self.advantage_clip = alpha, beta, std_floor, advantage_clip
        compares = partition in (gated_intra_sample, softmax_spread)  # the others give a response alone token credit
        self.smallest_group = 2 if alpha or compares else 1
        self.token_credit = beta != 0

    def __call__(self, experience: Experience) -> Credited:
        credited = self.response_level(experience)
        token, live = self.token_level(experience)
        if self.advantage_clip is not None:
            token = token.clamp(-self.advantage_clip, self.advantage_clip)
        live_cells = live.sum() / experience.scorable.sum().clamp(min=1)
        return replace(
            credited,
            advantages=self.combine(credited.advantages, token, self.alpha, self.beta),
            metrics={**credited.metrics, "live_cells": live_cells},
        )

    def token_level(self, experience: Experience) -> tuple[Float[Tensor, "batch token"], Bool[Tensor, "batch rubric"]]:
        """A_tok before clipping, and which cells are live. The one method that a variant overrides."""
        return self.partition(experience, self.std_floor)
