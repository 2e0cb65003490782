"""Verdicts to one reward per response. RTT, Eqs. 2 and 3.

Every function here has the same signature, so that any of them, or one of your own, can be given to a policy as
``response_reward``:

    (met [batch rubric] bool, scorable [batch rubric] bool, weights [batch rubric] float)
        -> (reward [batch] float, known [batch] bool)

A weight of 0 marks padding, a negative weight an unwanted criterion. ``reward`` is 0 where it is not ``known``.
An unscorable criterion never counts as unmet.
"""

from collections.abc import Callable

import torch
from torch import Tensor

ResponseReward = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def all_or_nothing(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """AON: 1 if every criterion is as desired, else 0 (Eq. 2).

    One criterion that is not as desired decides for 0 whatever the others are; otherwise the reward is unknown while
    a criterion is unscorable, and for an empty rubric.
    """
    exists = weights != 0
    desired = met == (weights > 0)
    failed = (exists & scorable & ~desired).any(-1)
    complete = (scorable | ~exists).all(-1) & exists.any(-1)
    return (complete & ~failed).float(), failed | complete


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
    counted = torch.where(scorable, weights, 0.0)
    total = counted.clamp(min=0).sum(-1)
    known = total > 0
    reward = (counted * met).sum(-1) / torch.where(known, total, 1.0)
    return torch.where(known, reward, 0.0), known
