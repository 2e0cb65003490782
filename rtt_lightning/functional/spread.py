"""How credit is spread over the tokens of a response and the criteria of a group: diagnostics of any algorithm."""

import torch
from torch import Tensor

from rtt_lightning.functional.cells import segments
from rtt_lightning.types import Experience
from rtt_lightning.types.axes import Bool, Float

PerToken = Float[Tensor, "batch token"]
Mask = Bool[Tensor, "batch token"]


def gini(advantages: PerToken, mask: Mask) -> Float[Tensor, " batch"]:
    """Gini coefficient of |A| over a response's n tokens: 0 where all have the same, 1 - 1/n where one has all.

    2 sum_i i a_i / (n sum_i a_i) - (n + 1) / n, with a_1 <= ... <= a_n the sorted |A|. NaN without any credit.
    """
    values = torch.where(mask, advantages.abs(), 0.0).sort(1).values
    count, tokens = mask.sum(1).to(values), mask.shape[1]
    place = torch.arange(1, tokens + 1, device=mask.device) - (tokens - count)[:, None]  # what is outside comes first
    return 2 * (place * values).sum(1) / (count * values.sum(1)) - (count + 1) / count


def effective_tokens(advantages: PerToken, mask: Mask) -> Float[Tensor, " batch"]:
    """(sum |A|)^2 / sum A^2: m where m tokens of a response share its credit evenly. NaN without any credit."""
    values = torch.where(mask, advantages.abs(), 0.0)
    return values.sum(1).square() / values.square().sum(1)


def saturated_cells(experience: Experience) -> Bool[Tensor, "batch rubric"]:
    """Scorable cells (response, criterion) on whose criterion all scorable verdicts of the group agree.

    Criteria of a group must be in the same order in every row.
    """
    group, zeros = segments(experience.group_ids), torch.zeros_like(experience.weights)
    desired, decided = (
        zeros.index_add(0, group, part.to(zeros))[group] for part in (experience.as_desired, experience.scorable)
    )
    return experience.scorable & ((desired == 0) | (desired == decided))
