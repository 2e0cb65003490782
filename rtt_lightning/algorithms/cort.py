"""CoRT (arXiv 2607.25659): response-level credit, weighted by how much the criteria change each token's probability."""

from dataclasses import replace

import torch

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.grpo import GRPO
from rtt_lightning.functional.contrast import contrast_weights, smoothstep
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.errors import UserError


class CoRT(Algorithm):
    """A = w A_res, with weights w of mean 1 over the answer from what the criteria change in a token's log-prob.

    From delta[i, t] = log pi(y_t | task with criteria) - log pi(y_t | task without); w is 1 outside the answer:

        s = sigmoid(tau (delta - b)) - 1/2,  w~ = 1 + eta lambda s,  w = w~ / (mean of w~ over the answer)

    lambda is 0 during the warm-up, then rises to 1 by a smoothstep. It needs no discriminator, but a relevance source
    that compares prompts, `CriteriaContrast`, and so prompts whose task is known apart from the criteria. A response
    without a contrast has w = 1. The paper gives no values for tau, b, eta and lambda: the defaults are ours.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide by the group's standard deviation; false is Dr. GRPO.
        tau: Sharpness, per nat.
        b: Contrast, in nats, at which a token has the raw weight 1.
        eta: Strength, in [0, 2): raw weights lie within 1 +- eta / 2.
        warmup: Updates of the policy before lambda begins to rise.
        rise: Updates within which it rises from 0 to 1; 0 for at once.
    """

    weighs_tokens = True

    def __init__(
        self,
        response_reward: ResponseReward = satisfaction_rate,
        scale_rewards: bool = True,
        tau: float = 1.0,
        b: float = 0.0,
        eta: float = 1.0,
        warmup: int = 0,
        rise: int = 20,
    ) -> None:
        if not 0 <= eta < 2:
            raise UserError(f"eta must be in [0, 2), so that weights stay positive, got {eta}")
        self.response_level = GRPO(response_reward, scale_rewards)
        self.tau, self.b, self.eta, self.warmup, self.rise = tau, b, eta, warmup, rise

    def __call__(self, experience: Experience) -> Credited:
        contrast, answer = experience.contrast, experience.answer_mask
        if contrast is None:
            if len(answer):
                raise UserError(
                    "CoRT weighs tokens by a contrast, and the relevance source gives none: set rollout.relevance to "
                    "rtt_lightning.CriteriaContrast"
                )
            return self.response_level(experience)
        lam = self.progress(experience.version)
        weights = contrast_weights(contrast, answer, self.tau, self.b, self.eta * lam)
        credited = self.response_level(experience)
        without = (contrast.isnan() & answer).any(1).float().mean()
        metrics = {**credited.metrics, "contrast_lambda": torch.tensor(lam), "without_contrast": without}
        return replace(credited, advantages=weights * credited.advantages, metrics=metrics)

    def progress(self, version: int) -> float:
        """lambda, for a window sampled by weights with so many updates behind them."""
        done = version - self.warmup
        return smoothstep(done / self.rise) if self.rise else float(done >= 0)
