"""PAPO (arXiv 2603.26535): an outcome compared over all responses, and quality over those that pass alone."""

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.checks import taking
from rtt_lightning.functional.advantages import flat_groups, group_normalize
from rtt_lightning.functional.rewards import ResponseReward, hard_all_or_nothing, soft_rate
from rtt_lightning.types import Credited, Experience


class PAPO(Algorithm):
    """A = A_out + A_proc: an outcome is compared over all responses of a group, quality over those that pass.

    A_out is the group's z-score of the outcome, A_proc that of the quality over the responses whose outcome is 1, and 0
    for the others. So a failure earns nothing by its quality, which still parts responses where all pass. By default
    the outcome is that all hard criteria are as desired, and quality the mean desired value of the soft ones, the
    division of RDAN-GRPO.

    A rubric without hard criteria: all pass, and quality alone is compared. Without soft criteria, or with none of them
    decided: that response has no quality, and A_proc is 0. A hard criterion undecided: the response has no outcome, has
    not passed, and takes no part.

    Args:
        outcome: Verdicts to 1 for a pass, less for a failure, from `rtt_lightning.functional.rewards`.
        quality: Verdicts to a reward, from the same module.
        scale_rewards: Divide both by their standard deviations; false as in Dr. GRPO.
    """

    def __init__(
        self,
        outcome: ResponseReward = hard_all_or_nothing,
        quality: ResponseReward = soft_rate,
        scale_rewards: bool = True,
    ) -> None:
        self.outcome, self.quality = taking(outcome, "experience"), taking(quality, "experience")
        self.scale_rewards = scale_rewards

    def __call__(self, experience: Experience) -> Credited:
        groups, scale = experience.group_ids, self.scale_rewards
        (rewards, known), (quality, rated) = self.outcome(experience), self.quality(experience)
        passed = known & (rewards >= 1)
        advantages = group_normalize(rewards, known, groups, scale)
        advantages = advantages + group_normalize(quality, rated & passed, groups, scale)
        metrics = {"zero_variance_groups": flat_groups(advantages, groups)}
        metrics |= {"passed": passed.sum() / known.sum().clamp(min=1)}
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, metrics)
