"""Verdicts to one reward per response. RTT, Eqs. 2 and 3.

Every function here has the same signature, so that any of them, or one of your own, can be given to an algorithm as
``response_reward``:

    (experience) -> (reward [batch] float, known [batch] bool)

A weight of 0 marks padding, a negative weight an unwanted criterion. ``reward`` is 0 where it is not ``known``.
An unscorable criterion never counts as unmet, except where a name says so.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rtt_lightning.types import Experience
from rtt_lightning.types.axes import Bool, Float
from rtt_lightning.types.errors import UserError

Reward = tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]
ResponseReward = Callable[[Experience], tuple[Tensor, Tensor]]


def all_or_nothing(experience: Experience) -> Reward:
    """AON: 1 if every criterion is as desired, else 0 (Eq. 2); unknown if one is undecided, and for an empty rubric.

    It is unknown even if another criterion is not as desired, which would make it 0: otherwise a group's baseline
    would count failures as soon as they are known, but not successes.
    """
    passed, known = all_or_nothing_lower_bound(experience)
    known &= experience.decided
    return passed * known, known


def all_or_nothing_lower_bound(experience: Experience) -> Reward:
    """AON with every undecided criterion counted as not desired: at most the reward that it would be if decided.

    The only reward here that an undecided criterion lowers; unknown only for an empty rubric. Some of its failures are
    those of judges and checkers: for runs that prefer this to leaving such responses out.
    """
    known = experience.exists.any(-1)
    return (known & (experience.as_desired | ~experience.exists).all(-1)).float(), known


def satisfaction_rate(experience: Experience) -> Reward:
    """CSR: the mean desired value of the scorable criteria; without degrees, the share of them as desired (Eq. 3).
    Unknown if none is scorable.

    With positive weights this is the paper's mean of I; weights count by their sign only.
    """
    return _mean(experience, experience.exists & experience.scorable)


def hybrid(experience: Experience) -> Reward:
    """(AON + CSR) / 2, unknown where AON is. RIFL, arXiv 2511.10507, tries a hybrid of the two; the halves are ours."""
    whole, known = all_or_nothing(experience)
    rate, _ = satisfaction_rate(experience)
    return (whole + rate) / 2 * known, known


def weighted_mean(experience: Experience) -> Reward:
    """Sum of w times value / sum of the positive w, both over scorable criteria.

    At most 1; below 0 when unwanted criteria outweigh wanted ones. Unknown if no wanted criterion is scorable.

    Raises:
        UserError: If a row has no positive weight, so that its reward could only be 0 or negative.
    """
    weights = experience.weights
    if not (weights > 0).any(-1).all():
        row = int((~(weights > 0).any(-1)).nonzero()[0])
        raise UserError(
            f"weighted_mean needs a positive weight in every rubric, got {weights[row].tolist()} in row {row}; "
            "give one wanted criterion a positive weight or use satisfaction_rate"
        )
    # In double: equal rewards then differ only by the rounding of weights.
    counted = torch.where(experience.scorable, weights, 0.0).double()
    total = counted.clamp(min=0).sum(-1)
    known = total > 0
    reward = (counted * experience.value).sum(-1) / torch.where(known, total, 1.0)
    return torch.where(known, reward, 0.0).to(weights), known


def hard_times_soft(experience: Experience) -> Reward:
    """Mean desired value of the hard criteria times that of the soft ones. VerIF, arXiv 2506.09942.

    A side without criteria counts as 1; a side whose criteria are all unscorable makes the reward unknown, like an
    empty rubric. Weights count by their sign only.
    """
    reward, known = experience.weights.new_ones(len(experience.weights)), experience.exists.any(-1)
    for side in (experience.hard, ~experience.hard):
        is_there = (side & experience.exists).any(-1)
        mean, decided = _mean(experience, side & experience.exists & experience.scorable)
        reward = reward * torch.where(is_there, mean, 1.0)
        known = known & (decided | ~is_there)
    return reward * known, known


def hard_all_or_nothing(experience: Experience) -> Reward:
    """1 if every hard criterion is as desired, else 0; 1 without a hard one. Unknown if one is undecided, and for an
    empty rubric.
    """
    hard = experience.hard & experience.exists
    known = experience.exists.any(-1) & (experience.scorable | ~hard).all(-1)
    return (known & (experience.as_desired | ~hard).all(-1)).float(), known


def soft_rate(experience: Experience) -> Reward:
    """The mean desired value of the scorable soft criteria; unknown if none is scorable."""
    return _mean(experience, ~experience.hard & experience.exists & experience.scorable)


def _mean(experience: Experience, counted: Tensor) -> Reward:
    """Mean desired value of the criteria that are ``counted``; unknown, and 0, without any."""
    total = torch.where(counted, experience.desired_value, 0.0).sum(-1)
    return total / counted.sum(-1).clamp(min=1), counted.any(-1)
