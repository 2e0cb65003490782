"""RLOO (arXiv 2402.14740): each response is compared with the mean of the others to its prompt."""

import torch

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.checks import taking
from rtt_lightning.functional.advantages import flat_groups, group_normalize
from rtt_lightning.functional.cells import segments
from rtt_lightning.functional.rewards import ResponseReward, satisfaction_rate
from rtt_lightning.types import Credited, Experience


class RLOO(Algorithm):
    """A_i = r_i - mean of r_j over the other responses j of the group, the same for all tokens of a response.

    With n known rewards this is n / (n - 1) times (r_i - mean), Dr. GRPO's: an unbiased baseline, and no division by
    the spread. Responses with an unknown reward take no part.

    Args:
        response_reward: Verdicts to one reward per response, from `rtt_lightning.functional.rewards`.
    """

    def __init__(self, response_reward: ResponseReward = satisfaction_rate) -> None:
        self.response_reward = taking(response_reward, "experience")

    def __call__(self, experience: Experience) -> Credited:
        rewards, known = self.response_reward(experience)
        group = segments(experience.group_ids)
        counts = torch.zeros_like(rewards).index_add(0, group, known.to(rewards))[group]
        centred = group_normalize(rewards, known, experience.group_ids, scale=False)
        advantages = centred * counts / (counts - 1).clamp(min=1)
        metrics = {"zero_variance_groups": flat_groups(advantages, experience.group_ids)}
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, metrics)
