"""GRPO (arXiv 2402.03300) over rubrics: one reward per response, compared within its group."""

import torch
from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.functional.advantages import group_normalize
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Float


class GRPO(Algorithm):
    """A = (r - mean) / (std + eps) over the group, the same for all tokens of a response.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
        scale_rewards: Divide by the group's standard deviation; false is Dr. GRPO.
    """

    def __init__(self, response_reward: ResponseReward = satisfaction_rate, scale_rewards: bool = True) -> None:
        self.response_reward, self.scale_rewards = response_reward, scale_rewards

    def __call__(self, experience: Experience) -> Credited:
        rewards, known = self.response_reward(experience)
        advantages = group_normalize(rewards, known, experience.group_ids, self.scale_rewards)
        metrics = {"zero_variance_groups": _flat_groups(advantages, experience.group_ids)}
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, metrics)


def _flat_groups(advantages: Float[Tensor, " batch"], group_ids: Tensor) -> Tensor:
    """Share of groups whose advantages are all 0."""
    groups = group_ids.unique()
    flat = sum((advantages[group_ids == group] == 0).all() for group in groups)
    return torch.as_tensor(flat) / len(groups)
