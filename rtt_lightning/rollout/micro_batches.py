"""Which rows of a window each micro-batch holds: about equal in tokens, or as few micro-batches as a budget allows."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from rtt_lightning.types import Experience


def split_groups(
    experience: Experience, updates: int, parts: int, budget: int | None = None
) -> tuple[list[list[Tensor]], int]:
    """Row indices of each update's micro-batches, and how many micro-batches the updates need.

    Updates divide the groups in order and by number. A group costs its tokens: the prompt's, once, and the responses'.
    Without a budget, micro-batches cost about the same and groups stay whole; some may be empty. With one, as few hold
    rows as keep within it, see `packed`, and a group that costs more is divided, see `divided`. Where this needs more
    than ``parts``, they cost about the same.

    Args:
        experience: All rows of this process.
        updates: Optimiser updates per window.
        parts: Micro-batches per update.
        budget: Tokens of a micro-batch.
    """
    ids, lengths = experience.group_ids, experience.response_mask.sum(1)
    groups = [(ids == group).nonzero()[:, 0] for group in ids.unique()]
    bounds = [len(groups) * update // updates for update in range(updates + 1)]
    found, needed = [], 0
    for first, end in pairwise(bounds):
        pieces = [piece for rows in groups[first:end] for piece in _pieces(experience, rows, budget)]
        costs = [int(experience.prompt_lengths[rows[0]] + lengths[rows].sum()) for rows in pieces]
        chosen = balanced(costs, parts) if budget is None else packed(costs, budget)
        needed = max(needed, len(chosen))
        chosen = balanced(costs, parts) if len(chosen) > parts else chosen + [[]] * (parts - len(chosen))
        mine = [torch.cat([ids[:0], *(pieces[item] for item in items)]).sort().values for items in chosen]
        found.append(sorted(mine, key=lambda rows: rows[:1].tolist()))  # in order, those without rows first
    return found, needed


def _pieces(experience: Experience, rows: Tensor, budget: int | None) -> list[Tensor]:
    """The rows of a group, `divided` if there is a budget."""
    if budget is None:
        return [rows]
    lengths = experience.response_mask[rows].sum(1).tolist()
    return [rows[run] for run in divided(lengths, budget - int(experience.prompt_lengths[rows[0]]))]


def balanced(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Which items each part has: the costliest item goes first, each to the part that costs least so far.

    The costliest part costs at most 4/3 of what it would in the best division.
    """
    found: list[list[int]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for item in sorted(range(len(costs)), key=lambda item: -costs[item]):
        part = loads.index(min(loads))
        found[part].append(item)
        loads[part] += costs[item]
    return found


def packed(costs: Sequence[int], budget: int) -> list[list[int]]:
    """The fewest `balanced` parts that cost at most the budget each; an item that costs more has a part alone."""
    fewest = ceil(sum(min(cost, budget) for cost in costs) / budget)
    for parts in range(fewest, len(costs)):
        found = balanced(costs, parts)
        if all(len(items) == 1 or sum(costs[item] for item in items) <= budget for items in found):
            return found
    return balanced(costs, len(costs))


def divided(lengths: Sequence[int], limit: int) -> list[slice]:
    """The fewest runs of consecutive responses of at most ``limit`` tokens each, and among these the most even ones.

    A response that is longer has a run alone.
    """
    fewest = len(_runs(lengths, limit))
    even = bisect_left(range(max(limit, 0)), True, key=lambda tokens: len(_runs(lengths, tokens)) <= fewest)
    return _runs(lengths, even)


def _runs(lengths: Sequence[int], limit: int) -> list[slice]:
    """Runs that are each continued as far as the limit allows."""
    starts, tokens = [0], 0
    for row, length in enumerate(lengths):
        if row > starts[-1] and tokens + length > limit:
            starts.append(row)
            tokens = 0
        tokens += length
    return [slice(*run) for run in pairwise([*starts, len(lengths)])]
