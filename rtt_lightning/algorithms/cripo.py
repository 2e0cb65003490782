"""CriPO's flip: what a response did right is not pushed down with the rest of it."""

from dataclasses import replace

from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.grpo import GRPO
from rtt_lightning.functional.cells import by_rows
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Bool


class CriPO(Algorithm):
    """A = A_res, but |A_res| on the tokens of criteria that are as desired.

    These are the tokens t of an answer with p[i, k, t] >= ``threshold`` for some such criterion k. The flip is CriPO's,
    for tokens of a met criterion in a response whose advantage is negative. Ours is what makes a token one of a
    criterion, a threshold on the relevance, and "as desired" for "met", so that an unwanted criterion counts the other
    way round. A token that also belongs to a criterion that is not as desired is flipped as well.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide by the group's standard deviation; false is Dr. GRPO.
        threshold: Least relevance of a token to a criterion that it belongs to.
    """

    token_credit = True

    def __init__(
        self,
        response_reward: ResponseReward = satisfaction_rate,
        scale_rewards: bool = True,
        threshold: float = 0.5,
    ) -> None:
        self.response_level, self.threshold = GRPO(response_reward, scale_rewards), threshold

    def __call__(self, experience: Experience) -> Credited:
        credited = self.response_level(experience)
        flips = (credited.advantages < 0) & self.of_the_desired(experience)
        advantages = credited.advantages.where(~flips, -credited.advantages)
        share = flips.sum() / experience.response_mask.sum().clamp(min=1)
        return replace(credited, advantages=advantages, metrics={**credited.metrics, "flipped": share})

    def of_the_desired(self, experience: Experience) -> Bool[Tensor, "batch token"]:
        """Tokens of the answer that belong to a criterion that is as desired."""

        def block(relevance: Tensor, desired: Tensor) -> tuple[Tensor]:
            return (((relevance >= self.threshold) & desired[..., None]).any(1),)

        [belongs] = by_rows(block, experience.relevance, experience.as_desired)
        return belongs & experience.answer_mask
