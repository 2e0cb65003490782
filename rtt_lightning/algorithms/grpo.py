"""GRPO (arXiv 2402.03300) over rubrics: one reward per response, compared within its group."""

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.checks import taking
from rtt_lightning.functional.advantages import flat_groups, group_normalize
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience


class GRPO(Algorithm):
    """A = (r - mean) / (std + eps) over the group, the same for all tokens of a response.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide by the group's standard deviation; false is Dr. GRPO.
    """

    def __init__(self, response_reward: ResponseReward = satisfaction_rate, scale_rewards: bool = True) -> None:
        self.response_reward, self.scale_rewards = taking(response_reward, "experience"), scale_rewards

    def __call__(self, experience: Experience) -> Credited:
        rewards, known = self.response_reward(experience)
        advantages = group_normalize(rewards, known, experience.group_ids, self.scale_rewards)
        metrics = {"zero_variance_groups": flat_groups(advantages, experience.group_ids)}
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, metrics)
