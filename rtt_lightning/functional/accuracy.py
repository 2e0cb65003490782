"""Verdicts to accuracies: counts of each response, which add up over batches, prompts and processes, and their ratios.

*Undecided is not missing at random.* A failure is known as soon as one criterion is not as desired, a success only when
all are decided; and responses that are wholly decided have shorter rubrics. So where anything is undecided the
instruction-level accuracy of a whole set is not known, only its bounds are: all undecided criteria not as desired, or
all as desired. The accuracy over wholly decided responses is another figure, of other rubrics.
"""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from rtt_lightning.types import as_desired
from rtt_lightning.types.axes import Bool, Float, Int

RESPONSES, CRITERIA, PASSED, FAILED, DECIDED, DECIDED_CRITERIA = range(6)
"""Columns of `instruction_counts`."""
WHOLE, LOWER, UPPER, WHOLLY_DECIDED = (
    f"instruction_accuracy{part}" for part in ("", "_lower_bound", "_upper_bound", "_wholly_decided")
)
"""Of all responses, the bounds of that, and of wholly decided responses alone."""

PerCriterion = Bool[Tensor, "batch rubric"]
Weights = Float[Tensor, "batch rubric"]
Counts = TypeVar("Counts", Tensor, np.ndarray)


def rubric_counts(met: PerCriterion, scorable: PerCriterion, weights: Weights) -> Int[Tensor, "batch 2"]:
    """Of each response the criteria as desired, and those that are scorable.

    Args:
        met: Verdicts; meaningless where not ``scorable``.
        scorable: Criteria with a verdict.
        weights: 0 marks padding, a negative weight an unwanted criterion.
    """
    counted = scorable & (weights != 0)
    desired = counted & as_desired(met, weights)
    return torch.stack([desired.sum(1), counted.sum(1)], dim=1)


def instruction_counts(met: PerCriterion, scorable: PerCriterion, weights: Weights) -> Int[Tensor, "batch 6"]:
    """Of each response what `instruction_figures` needs; arguments as for `rubric_counts`.

    Returns:
        1 for the response, its criteria, whether all are as desired, whether one is known not to
        be, whether it is wholly decided, and its criteria if so. All 0 for an empty rubric.
    """
    exists = weights != 0
    desired, criteria, responses = as_desired(met, weights), exists.sum(1), exists.any(1)
    decided = responses & (scorable | ~exists).all(1)
    passed = decided & (desired | ~exists).all(1)
    failed = (exists & scorable & ~desired).any(1)
    columns = (responses, criteria, passed, failed, decided, criteria * decided)
    return torch.stack([column.long() for column in columns], dim=1)


def instruction_ratios(counts: Counts) -> dict[str, tuple[Counts, Counts]]:
    """Successes and trials of each accuracy at instruction level, by name, from ``[... 6]`` counts or sums of them.

    `LOWER` and `UPPER`, with every undecided criterion not as desired, and as desired; `WHOLLY_DECIDED`; and `WHOLE`
    only if every criterion was decided: no other single number stands for a whole set.
    """
    responses, passed, failed, decided = (counts[..., column] for column in (RESPONSES, PASSED, FAILED, DECIDED))
    ratios = {LOWER: (passed, responses), UPPER: (responses - failed, responses), WHOLLY_DECIDED: (passed, decided)}
    return {WHOLE: (passed, responses), **ratios} if (decided == responses).all() else ratios


def instruction_figures(totals: Int[Tensor, "6"]) -> dict[str, Tensor]:
    """Figures at instruction level of a set, without those that are not known; none without a response.

    The accuracies of `instruction_ratios`; ``undecided_share``, the share of responses with an undecided criterion;
    ``wholly_decided_responses``, the number of the others; ``wholly_decided_criteria`` and ``criteria``, the mean
    number of criteria of those, and of all responses.

    Args:
        totals: The sum of `instruction_counts`.
    """
    responses, criteria, _, _, decided, decided_criteria = totals.float()
    ratios = instruction_ratios(totals.float()) | {
        "undecided_share": (responses - decided, responses),
        "criteria": (criteria, responses),
        "wholly_decided_criteria": (decided_criteria, decided),
    }
    found = {name: part / whole for name, (part, whole) in ratios.items() if whole}
    return {**found, "wholly_decided_responses": decided} if responses else {}
