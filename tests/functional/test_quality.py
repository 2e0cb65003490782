"""How well relevance finds tokens: by hand, and against slow definitions."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.quality import (
    BINS,
    SUMS,
    average_precision,
    is_constant,
    precision_by_chance,
    quality_metrics,
    quality_sums,
    reliability,
    summed,
)


def by_thresholds(p: list[float], labels: list[bool]) -> float:
    """Sum over distinct thresholds of (gain in recall) * precision, as scikit-learn documents it."""
    found, recall = 0.0, 0.0
    for threshold in sorted(set(p), reverse=True):
        above = [label for value, label in zip(p, labels, strict=True) if value >= threshold]
        found += (sum(above) / sum(labels) - recall) * sum(above) / len(above)
        recall = sum(above) / sum(labels)
    return found


def precision(p: list[float], labels: list[bool], weights: list[int] | None = None) -> float:
    counts = torch.tensor(weights or [1] * len(p)).double()
    return float(average_precision(torch.tensor(p).double(), torch.tensor(labels), counts))


def test_average_precision_by_hand() -> None:
    assert precision([0.9, 0.8, 0.8, 0.1], [True, False, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    assert precision([0.5] * 5, [True, False, False, False, True]) == pytest.approx(2 / 5)  # a constant: the share
    assert precision([0.1, 0.2, 0.9], [False, False, True]) == 1
    assert math.isnan(precision([0.1, 0.2], [False, False]))


TOKENS = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans(), st.integers(0, 3)), min_size=1)


@given(TOKENS)
def test_average_precision_is_the_sum_over_thresholds(tokens: list[tuple[float, bool, int]]) -> None:
    """A weight counts a token as often, 0 as if it were not there."""
    repeated = [(value, label) for value, label, weight in tokens for _ in range(weight)]
    if not any(label for _, label in repeated):
        return
    p, labels, weights = (list(column) for column in zip(*tokens, strict=True))
    expected = by_thresholds(*(list(column) for column in zip(*repeated, strict=True)))
    assert precision(p, labels, weights) == pytest.approx(expected)


def test_one_ranking_takes_many_draws_of_weights() -> None:
    p, labels = torch.tensor([0.9, 0.6, 0.6, 0.2]), torch.tensor([True, False, True, True])
    draws = torch.tensor([[1, 1, 1, 1], [0, 2, 1, 3]]).double()
    expected = [precision(p.tolist(), labels.tolist(), draw) for draw in ([1, 1, 1, 1], [0, 2, 1, 3])]
    torch.testing.assert_close(average_precision(p, labels, draws), torch.tensor(expected).double())


def test_chance_is_the_mean_over_all_rankings() -> None:
    labels = [True, True, False, False, False]
    ranks = [0.9, 0.8, 0.7, 0.6, 0.5]
    mean = sum(precision(list(order), labels) for order in permutations(ranks)) / math.factorial(5)
    assert float(precision_by_chance(torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(mean)


def cells() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A mixed cell of four tokens, a mixed one of two, a wholly relevant one, and one without tokens."""
    p = torch.tensor([[0.91, 0.8, 0.8, 0.1], [0.3, 0.6, 9, 9], [0.95, 0.4, 0.2, 9], [9, 9, 9, 9.0]])
    labels = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    return p, labels, torch.arange(4) < torch.tensor([4, 2, 3, 0])[:, None]


def test_the_metrics_by_hand() -> None:
    found = {name: float(value) for name, value in quality_metrics(quality_sums(*cells()).sum(0)).items()}
    assert found["average_precision_per_cell"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found["base_rate"] == pytest.approx(3 / 6)
    # chance: 2 of 4: (25/12 + 1/3 (4 - 25/12)) / 4; 1 of 2: (3/2) / 2
    assert found["average_precision_by_chance"] == pytest.approx(((25 / 12 + (4 - 25 / 12) / 3) / 4 + 3 / 4) / 2)
    # above 0.5: 0.91, 0.8, 0.8 | 0.6 | 0.95, of which three are relevant, of six relevant tokens
    assert found["f1"] == pytest.approx(2 * 3 / (5 + 6))
    squares = (0.09**2 + 0.8**2 + 0.2**2 + 0.1**2) + (0.7**2 + 0.6**2) + (0.05**2 + 0.6**2 + 0.8**2)
    assert found["brier"] == pytest.approx(squares / 9)
    # bins: 0.1 (0) | 0.2 (1) | 0.3 (1) | 0.4 (1) | 0.6 (0) | 0.8, 0.8 (1 of 2) | 0.91, 0.95 (2): sums of p - label
    gap = 0.1 + 0.8 + 0.7 + 0.6 + 0.6 + (1.6 - 1) + (2 - 1.86)
    assert found["calibration_error"] == pytest.approx(gap / 9)


def test_the_bins_of_reliability() -> None:
    rows = reliability(quality_sums(*cells()).sum(0))
    assert rows[:, 0].tolist() == [0, 1, 1, 1, 1, 0, 1, 0, 2, 2]
    assert rows[8].tolist() == pytest.approx([2, 0.8, 0.5])
    assert rows[9].tolist() == pytest.approx([2, 0.93, 1])
    assert rows[0, 1:].isnan().all()
    ends = quality_sums(torch.tensor([[0.0, 1.0]]), torch.tensor([[False, True]]), torch.tensor([[True, True]]))
    assert reliability(ends[0])[:, 0].tolist() == [1, *[0] * (BINS - 2), 1]


def test_sums_add_up_and_padding_is_nothing() -> None:
    p, labels, mask = cells()
    whole = quality_sums(p, labels, mask)
    torch.testing.assert_close(quality_sums(p[1:2, :2], labels[1:2, :2], mask[1:2, :2]), whole[1:2])
    torch.testing.assert_close(
        summed(whole, torch.tensor([1, 0, 1, 1]), 2), torch.stack([whole[1], whole[[0, 2, 3]].sum(0)])
    )
    assert whole.shape == (4, len(SUMS) + 3 * BINS)
    assert not whole[3, 1:].any()  # a cell of which nothing was read


def test_of_nothing_nothing_is_known() -> None:
    found = quality_metrics(quality_sums(torch.zeros(0, 1), *[torch.zeros(0, 1, dtype=torch.bool)] * 2).sum(0))
    assert all(value.isnan() for value in found.values())


def test_a_constant_is_told_from_what_has_learned() -> None:
    assert is_constant(0.02, 0.09)
    assert is_constant(0.1, 0.09)
    assert not is_constant(0.2, 0.09)
    assert not is_constant(math.nan, math.nan)
