"""How credit is spread, by hand and against slow loops."""

from math import isnan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.spread import effective_tokens, gini, saturated_cells
from rtt_lightning.types import Experience
from tests.experiences import experiences

MASK = torch.tensor([[True, True, True, True], [True, True, True, False]])


def test_credit_that_one_token_has_and_credit_that_all_have() -> None:
    one_or_all = torch.tensor([[0.0, -3.0, 0.0, 0.0], [2.0, -2.0, 2.0, 9.0]])  # the last is outside the response
    assert gini(one_or_all, MASK).tolist() == pytest.approx([3 / 4, 0])
    assert effective_tokens(one_or_all, MASK).tolist() == pytest.approx([1, 3])
    # |A| = 0, 1, 1, 2: 2 (1 x 0 + 2 x 1 + 3 x 1 + 4 x 2) / (4 x 4) - 5 / 4 = 13 / 8 - 10 / 8; 16 / 6
    uneven = torch.tensor([[1.0, -2.0, 0.0, 1.0]])
    assert gini(uneven, MASK[:1]).item() == pytest.approx(3 / 8)
    assert effective_tokens(uneven, MASK[:1]).item() == pytest.approx(8 / 3)


def test_without_credit_or_tokens_nothing_is_spread() -> None:
    for metric in (gini, effective_tokens):
        assert metric(torch.zeros(2, 4), MASK).isnan().all()
        assert metric(torch.ones(2, 4), MASK & False).isnan().all()
        assert metric(torch.zeros(0, 1), torch.zeros(0, 1) > 0).shape == (0,)


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=7), outside=st.integers(0, 3))
def test_the_gini_coefficient_is_half_the_mean_difference_over_the_mean(values: list[float], outside: int) -> None:
    mask = (torch.arange(len(values) + outside) < len(values))[None]
    found = gini(torch.tensor([[*values, *[7.0] * outside]], dtype=torch.double), mask).item()
    sizes, n = [abs(value) for value in values], len(values)
    if not sum(sizes):
        assert isnan(found)
        return
    apart = sum(abs(one - other) for one in sizes for other in sizes) / n**2
    assert found == pytest.approx(apart / 2 / (sum(sizes) / n), abs=1e-9)


@given(experience=experiences())
def test_cells_are_saturated_where_all_that_is_decided_in_the_group_agrees(experience: Experience) -> None:
    found, decided, desired = saturated_cells(experience), experience.scorable, experience.as_desired
    for row, group in enumerate(experience.group_ids.tolist()):
        mates = [other for other, its in enumerate(experience.group_ids.tolist()) if its == group]
        for place in range(decided.shape[1]):
            verdicts = {bool(desired[mate, place]) for mate in mates if decided[mate, place]}
            assert bool(found[row, place]) == (bool(decided[row, place]) and len(verdicts) == 1)
