"""Rows to micro-batches: about equal in tokens, or as few micro-batches as a budget allows."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.rollout.micro_batches import balanced, divided, packed, split_groups
from tests.rollout.test_window import experience

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=20)
"""Group and tokens of each response."""


@given(
    rows=ROWS,
    updates=st.integers(1, 3),
    parts=st.integers(1, 4),
)
def test_micro_batches_hold_whole_groups_and_every_row_once(
    rows: list[tuple[int, int]], updates: int, parts: int
) -> None:
    """And an update holds the groups that it would hold if it were one micro-batch: so many of them, in order."""
    groups, lengths = map(list, zip(*rows, strict=True))
    found, _ = split_groups(experience(groups, lengths), updates, parts)
    assert [len(each) for each in found] == [parts] * updates
    ids = torch.tensor(groups)
    homes = [[set(ids[part].tolist()) for part in each] for each in found]
    assert sum(len(home) for each in homes for home in each) == len(set(groups))
    assert all(part.equal(part.sort().values) for each in found for part in each)
    known = sorted(set(groups))
    for update, each in enumerate(found):
        expected = known[len(known) * update // updates : len(known) * (update + 1) // updates]
        held = [row for row, group in enumerate(groups) if group in expected]
        assert sorted(row for part in each for row in part.tolist()) == held


def test_micro_batches_cost_about_the_same() -> None:
    """Of groups of 7, 5, 4 and 4 tokens, a prompt of 1 included: cut by number 12 and 8, here 11 and 9."""
    found, _ = split_groups(experience([0, 1, 2, 3], [6, 4, 3, 3]), updates=1, parts=2)
    assert [[part.tolist() for part in each] for each in found] == [[[0, 3], [1, 2]]]


@given(costs=st.lists(st.integers(1, 50), min_size=1, max_size=7), parts=st.integers(1, 3))
def test_the_costliest_part_is_near_the_best(costs: list[int], parts: int) -> None:
    """Graham's bound, against all divisions."""
    found = balanced(costs, parts)
    assert sorted(item for items in found for item in items) == list(range(len(costs)))
    best = min(
        max(sum(cost for cost, own in zip(costs, homes, strict=True) if own == part) for part in range(parts))
        for homes in product(range(parts), repeat=len(costs))
    )
    costliest = max(sum(costs[item] for item in items) for items in found)
    assert costliest <= (4 / 3 - 1 / (3 * parts)) * best + 1e-9


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (20, [[], [], [], [0, 1, 2, 3]]),
        (11, [[], [], [0, 3], [1, 2]]),  # 7 + 4 and 5 + 4
        (10, [[], [0], [1], [2, 3]]),  # 20 tokens would fill two, but no two hold them
        (6, [[0], [1], [2], [3]]),  # 7 tokens, one of the prompt and one response of 6, cannot be divided
    ],
)
def test_as_few_micro_batches_hold_rows_as_a_budget_allows(budget: int, expected: list[list[int]]) -> None:
    """Of groups of 7, 5, 4 and 4 tokens, a prompt of 1 included; those without rows come first."""
    found, needed = split_groups(experience([0, 1, 2, 3], [6, 4, 3, 3]), updates=1, parts=4, budget=budget)
    assert [part.tolist() for part in found[0]] == expected
    assert needed == sum(map(bool, expected))


def test_a_group_beyond_the_budget_is_divided_and_its_prompt_counts_in_each_part() -> None:
    """A prompt of 1 and four responses of 4 are 17 tokens: two parts of 9, but three where 8 are allowed."""
    group = experience([5, 5, 5, 5], [4, 4, 4, 4])
    assert [part.tolist() for part in split_groups(group, 1, 3, 9)[0][0]] == [[], [0, 1], [2, 3]]
    assert [part.tolist() for part in split_groups(group, 1, 4, 8)[0][0]] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        ([3, 3, 3, 3], 12, [4]),
        ([3, 3, 3, 3], 9, [2, 2]),  # two are needed, so 6 and 6, not 9 and 3
        ([5, 1, 1, 1, 1, 1], 8, [1, 5]),
        ([2, 30, 2, 2], 10, [1, 1, 2]),
        ([2, 2], 0, [1, 1]),
        ([2, 2], -5, [1, 1]),  # the prompt alone exceeds the budget
    ],
)
def test_runs_of_consecutive_responses_are_few_and_even(lengths: list[int], limit: int, expected: list[int]) -> None:
    assert [len(lengths[run]) for run in divided(lengths, limit)] == expected


def test_what_does_not_fit_is_spread_evenly_and_the_micro_batches_it_needs_are_known() -> None:
    groups = experience([0, 1, 2], [5, 5, 5])  # 6 tokens each with their prompts, of which 10 hold one
    found, needed = split_groups(groups, updates=1, parts=2, budget=10)
    assert needed == 3
    assert str(found) == str(split_groups(groups, updates=1, parts=2)[0])


def test_updates_without_rows_need_no_micro_batch() -> None:
    found, needed = split_groups(experience([4], [5]), updates=2, parts=2, budget=10)
    assert [[part.tolist() for part in each] for each in found] == [[[], []], [[], [0]]]
    assert needed == 1


@given(rows=ROWS, updates=st.integers(1, 3), parts=st.integers(1, 12), budget=st.integers(1, 40))
def test_a_budget_keeps_every_row_once_and_each_micro_batch_within_it(
    rows: list[tuple[int, int]], updates: int, parts: int, budget: int
) -> None:
    """Only a single response exceeds it, unless more micro-batches are needed than there are."""
    groups, lengths = map(list, zip(*rows, strict=True))
    found, needed = split_groups(experience(groups, lengths), updates, parts, budget)
    assert [len(each) for each in found] == [parts] * updates
    assert torch.cat([part for each in found for part in each]).sort().values.tolist() == list(range(len(rows)))
    most = max(sum(len(part) > 0 for part in each) for each in found)
    assert most <= needed
    if needed <= parts:
        assert most == needed
        for part in (part.tolist() for each in found for part in each):
            tokens = len({groups[row] for row in part}) + sum(lengths[row] for row in part)  # prompts of 1 token
            assert tokens <= budget or len(part) == 1


@given(costs=st.lists(st.integers(1, 30), min_size=1, max_size=5), budget=st.integers(1, 60))
def test_no_fewer_parts_keep_well_within_the_budget(costs: list[int], budget: int) -> None:
    """With one part less, even the best division has a part beyond the budget / (4/3 - 1 / (3 parts))."""
    found = packed(costs, budget)
    assert sorted(item for items in found for item in items) == list(range(len(costs)))
    assert all(len(items) == 1 or sum(costs[item] for item in items) <= budget for items in found)
    fewer = len(found) - 1
    if fewer and max(costs) <= budget:
        best = min(
            max(sum(cost for cost, own in zip(costs, homes, strict=True) if own == part) for part in range(fewer))
            for homes in product(range(fewer), repeat=len(costs))
        )
        assert best > budget / (4 / 3 - 1 / (3 * fewer))
