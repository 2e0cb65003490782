"""Verdicts to one reward per response. RTT, Eqs. 2 and 3.

Every function here has the same signature, so that any of them, or one of your own, can be given to a policy as
``response_reward``:

    (met [batch rubric] bool, scorable [batch rubric] bool, weights [batch rubric] float)
        -> (reward [batch] float, known [batch] bool)

A weight of 0 marks padding, a negative weight an unwanted criterion. ``reward`` is 0 where it is not ``known``.
An unscorable criterion never counts as unmet, except where a name says so.
"""

from collections.abc import Callable

import torch
from torch import Tensor

ResponseReward = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def all_or_nothing(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """AON: 1 if every criterion is as desired, else 0 (Eq. 2); unknown while one is undecided, and for an empty rubric.

    Also where another criterion is not as desired, so that the reward could only be 0: a group's baseline would
    otherwise be built from failures that are known and successes that are not.
    """
    exists = weights != 0
    passed, known = all_or_nothing_lower_bound(met, scorable, weights)
    known &= (scorable | ~exists).all(-1)
    return passed * known, known


def all_or_nothing_lower_bound(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """AON with every undecided criterion taken as not desired: at most the reward that it would have if decided.

    The one reward here that an undecided criterion lowers; unknown for an empty rubric alone. Its failures are partly
    those of judges and checkers: for runs that prefer this to leaving such responses out.
    """
    exists = weights != 0
    desired = scorable & (met == (weights > 0))
    known = exists.any(-1)
    return (known & (desired | ~exists).all(-1)).float(), known


def satisfaction_rate(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """CSR: the share of scorable criteria that are as desired (Eq. 3); unknown where none is scorable.

    With positive weights this is the paper's mean of I; weights count by their sign only.
    """
    counted = scorable & (weights != 0)
    desired = counted & (met == (weights > 0))
    known = counted.any(-1)
    return desired.sum(-1) / counted.sum(-1).clamp(min=1), known


def weighted_mean(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of w over met criteria / sum of the positive w, both over scorable criteria.

    Range: at most 1; below 0 when unwanted criteria outweigh wanted ones. Unknown where no wanted criterion is
    scorable.

    Raises:
        ValueError: If a row has no positive weight at all, so that its reward could only be 0 or negative.
    """
    if not (weights > 0).any(-1).all():
        row = int((~(weights > 0).any(-1)).nonzero()[0])
        raise ValueError(
            f"weighted_mean needs a positive weight in every rubric, got {weights[row].tolist()} in row {row}; "
            "give one wanted criterion a positive weight or use satisfaction_rate"
        )
    counted = torch.where(scorable, weights, 0.0).double()  # equal rewards then differ by the rounding of weights alone
    total = counted.clamp(min=0).sum(-1)
    known = total > 0
    reward = (counted * met).sum(-1) / torch.where(known, total, 1.0)
    return torch.where(known, reward, 0.0).to(weights), known
