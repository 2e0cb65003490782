"""Factored RTT: every verdict is compared within its group, and paid out to the tokens that are relevant to it."""

from dataclasses import replace

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.grpo import GRPO
from rtt_lightning.functional.advantages import add, criterion_normalize
from rtt_lightning.functional.factored import factored
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.errors import UserError


class FactoredRTT(Algorithm):
    """A = alpha A_res + beta A_tok, with A_tok = mean over scorable criteria k of Z_k w_k.

    Z_k is the group's z-score of the verdict on k, 1 if as desired and else 0; w_k is the relevance of a token to k
    over its mean in the answer. Ours, from factored policy gradients (arXiv 2102.10362). Where the group agrees on a
    criterion nothing is earned. Tokens outside the answer have the response level alone. With one criterion and alpha
    1, A = A_res (1 + beta w). The sum over an answer of n tokens is n mean_k Z_k (without a cap), whatever the
    relevance: with alpha 0 it spends, where it matters, the total that GDPO spreads evenly before its z-score over the
    window, given equal |weights|.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide by the group's standard deviation, at both levels; false as in Dr. GRPO.
        alpha: Weight of the response level.
        beta: Weight of the token level.
        absence: A criterion for which no token's relevance is at least this has w = 1 on the whole answer.
        cap: Bound on w, at least 1; null for none.
    """

    def __init__(
        self,
        response_reward: ResponseReward = satisfaction_rate,
        scale_rewards: bool = True,
        alpha: float = 1.0,
        beta: float = 1.0,
        absence: float = 0.25,
        cap: float | None = None,
    ) -> None:
        if cap is not None and cap < 1:
            raise UserError(f"cap bounds weights whose mean is 1, so it must be at least 1, got {cap}; null for none")
        self.response_level = GRPO(response_reward, scale_rewards)
        self.alpha, self.beta, self.absence, self.cap = alpha, beta, absence, cap
        self.token_credit = beta != 0

    def __call__(self, experience: Experience) -> Credited:
        credited = self.response_level(experience)
        scores = criterion_normalize(experience, graded=False, scale=self.response_level.scale_rewards)
        token, live = factored(experience, scores, self.absence, self.cap)
        live_cells = live.sum() / experience.scorable.sum().clamp(min=1)
        return replace(
            credited,
            advantages=add(credited.advantages, token, self.alpha, self.beta),
            metrics={**credited.metrics, "live_cells": live_cells},
        )
