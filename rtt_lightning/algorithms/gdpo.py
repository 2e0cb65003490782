"""GDPO (arXiv 2601.05242): each criterion is compared within its group before the criteria are summed."""

import torch

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.functional.advantages import criterion_normalize, flat_groups, window_normalize
from rtt_lightning.types import Credited, Experience


class GDPO(Algorithm):
    """A_k = z-score of criterion k's desired values over the group; A = sum of |w_k| A_k / sum of |w_k|, over the
    scorable criteria; then a z-score of A over all responses of the window, those of all processes together.

    The paper sums the A_k, for a fixed number of rewards. Here rubrics are ragged and verdicts may be missing, so a
    mean takes its place: for rubrics of equal size a constant factor, which the last step removes. Both standard
    deviations are sample ones, and what does not spread gives exactly 0.
    """

    def __call__(self, experience: Experience) -> Credited:
        weights = experience.weights.abs() * experience.scorable
        total = weights.sum(1)
        known = total > 0
        share = weights / torch.where(known, total, 1.0)[:, None]
        mixed = (share * criterion_normalize(experience)).sum(1)
        advantages = window_normalize(mixed, known, experience.reduce)
        rewards = (share * experience.desired_value).sum(1)
        metrics = {"zero_variance_groups": flat_groups(mixed, experience.group_ids)}
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, metrics)
