"""Verdicts to accuracies: counts per response, which add up over batches, prompts and processes, and their ratios.

*Undecided is not missing at random.* A failure is known as soon as one criterion is not as desired, a success only when
all are decided; and wholly decided responses have shorter rubrics. So if anything is undecided, only bounds of the
instruction-level accuracy of a whole set are known: all undecided criteria not as desired, or all as desired. The
accuracy over wholly decided responses is another metric, over other rubrics.
"""

from collections import Counter
from collections.abc import Sequence
from math import nan
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.types import JudgedRollout, as_desired
from rtt_lightning.types.axes import Bool, Float, Int

DESIRED, SCORABLE, RESPONSES, CRITERIA, PASSED, FAILED, DECIDED, DECIDED_CRITERIA = range(8)
"""Columns of `accuracy_counts`."""
RUBRIC = "rubric_accuracy"
WHOLE, LOWER, UPPER, WHOLLY_DECIDED = (
    f"instruction_accuracy{part}" for part in ("", "_lower_bound", "_upper_bound", "_wholly_decided")
)
"""The accuracy over all responses, its bounds, and the accuracy over wholly decided responses alone."""

PerCriterion = Bool[Tensor, "batch rubric"]
Weights = Float[Tensor, "batch rubric"]
Counts = TypeVar("Counts", Tensor, np.ndarray)


def accuracy_counts(met: PerCriterion, scorable: PerCriterion, weights: Weights) -> Int[Tensor, "batch 8"]:
    """The counts of each response that `accuracy_metrics` needs.

    Args:
        met: Verdicts; meaningless where not ``scorable``.
        scorable: Criteria with a verdict.
        weights: 0 marks padding, a negative weight an unwanted criterion.

    Returns:
        The number of criteria as desired and of scorable ones; 1 for the response; the number of criteria; whether all
        are as desired, whether one is known not to be, and whether all are decided; and the number of criteria if so.
        All 0 for an empty rubric.
    """
    exists = weights != 0
    desired, scorable = as_desired(met, weights), scorable & exists
    criteria, responses = exists.sum(1), exists.any(1)
    decided = responses & (scorable == exists).all(1)
    passed = decided & (desired | ~exists).all(1)
    failed = (scorable & ~desired).any(1)
    counted = (scorable & desired).sum(1), scorable.sum(1)
    columns = (*counted, responses, criteria, passed, failed, decided, criteria * decided)
    return torch.stack([column.long() for column in columns], dim=1)


def accuracy_ratios(counts: Counts) -> dict[str, tuple[Counts, Counts]]:
    """Successes and trials of each accuracy, by name, from ``[... 8]`` counts or sums of them.

    `RUBRIC`, over scorable criteria; at instruction level `LOWER` and `UPPER`, with all undecided criteria not as
    desired and as desired; `WHOLLY_DECIDED`; and `WHOLE` only if every criterion was decided: no other single number
    describes a whole set.
    """
    desired, scorable, responses, _, passed, failed, decided, _ = (counts[..., column] for column in range(8))
    ratios = {LOWER: (passed, responses), UPPER: (responses - failed, responses), WHOLLY_DECIDED: (passed, decided)}
    whole = {WHOLE: (passed, responses)} if (decided == responses).all() else {}
    return {RUBRIC: (desired, scorable), **whole, **ratios}


def accuracy_metrics(totals: Int[Tensor, "8"]) -> dict[str, Tensor]:
    """The known metrics of a set; none without a response.

    The accuracies of `accuracy_ratios`; ``undecided_share``, the share of responses with an undecided criterion;
    ``unscorable``, the share of criteria without a verdict; ``wholly_decided_responses``, the number of responses
    without undecided criteria; ``wholly_decided_criteria`` and ``criteria``, the mean number of criteria of those and
    of all responses.

    Args:
        totals: The sum of `accuracy_counts`.
    """
    _, scorable, responses, criteria, _, _, decided, decided_criteria = totals.float()
    ratios = accuracy_ratios(totals.float()) | {
        "undecided_share": (responses - decided, responses),
        "unscorable": (criteria - scorable, criteria),
        "criteria": (criteria, responses),
        "wholly_decided_criteria": (decided_criteria, decided),
    }
    found = {name: part / whole for name, (part, whole) in ratios.items() if whole}
    return {**found, "wholly_decided_responses": decided} if responses else {}


# -- of judged responses ---------------------------------------------------------------------------------------------


def verdict_tensors(judged: Sequence[JudgedRollout]) -> tuple[Tensor, Tensor, Tensor]:
    """Ragged rubrics with their verdicts, padded: ``met``, ``scorable`` and ``weights``, ``[batch rubric]`` each."""
    rows = [
        torch.tensor([(v.met is True, v.met is not None, float(c.weight)) for c, v in item.decisions])
        for item in judged
    ]
    table = pad_sequence(rows, batch_first=True) if rows else torch.zeros(0, 1, 3)
    return table[..., 0].bool(), table[..., 1].bool(), table[..., 2].float()


def counts_by_prompt(judged: Sequence[JudgedRollout]) -> dict[str, np.ndarray]:
    """Sums of the `accuracy_counts` of each prompt's responses, by prompt id, in order of first occurrence."""
    totals: dict[str, np.ndarray] = {}
    for item, row in zip(judged, accuracy_counts(*verdict_tensors(judged)).numpy(), strict=True):
        totals[item.sample.id] = totals.get(item.sample.id, 0) + row
    return totals


def counts_by_kind(judged: Sequence[JudgedRollout]) -> Counter[tuple[str, bool | None]]:
    """Numbers of criteria by kind (checker id) and by whether they are as desired; they add up over responses."""
    both = (zip(item.sample.criteria, item.as_desired, strict=True) for item in judged)
    return Counter((criterion.checker, desired) for pairs in both for criterion, desired in pairs)


def accuracy_by_kind(counts: Counter[tuple[str, bool | None]]) -> dict[str, tuple[float, int, int]]:
    """Per criterion kind: rubric-level accuracy, number of scorable criteria, and of others; from `counts_by_kind`.

    Lowest accuracy first; kinds without a scorable criterion, whose accuracy is NaN, last.
    """
    found: dict[str, tuple[float, int, int]] = {}
    for kind in {kind for kind, _ in counts}:
        desired, scorable = counts[kind, True], counts[kind, True] + counts[kind, False]
        found[kind] = desired / scorable if scorable else nan, scorable, counts[kind, None]
    return dict(sorted(found.items(), key=lambda row: (not row[1][1], row[1][0], row[0])))
