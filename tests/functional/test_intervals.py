"""Intervals of shares against binomial tails; those with spread are tested where evaluations are."""

import math

import numpy as np
import pytest

from rtt_lightning.functional.intervals import ratio_with_interval


def at_most(successes: int, n: int, share: float) -> float:
    """P(X <= successes) of a binomial variable."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(successes + 1))


@pytest.mark.parametrize("prompts", [2, 7, 541])
def test_where_all_fail_or_all_pass_the_interval_is_exact(prompts: int) -> None:
    none = ratio_with_interval(np.array([[0, 1]] * prompts))
    assert (none["mean"], none["low"]) == (0, 0)
    assert at_most(0, prompts, none["high"]) == pytest.approx(0.025)
    every = ratio_with_interval(np.array([[1, 1]] * prompts))
    assert (every["mean"], every["high"]) == (1, 1)
    assert 1 - at_most(prompts - 1, prompts, every["low"]) == pytest.approx(0.025)


def test_a_prompt_counts_once_however_many_responses_and_criteria_it_has() -> None:
    assert ratio_with_interval(np.array([[0, 8]] * 5)) == ratio_with_interval(np.array([[0, 1]] * 5))
    assert ratio_with_interval(np.array([[3, 3], [9, 9], [0, 0]])) == ratio_with_interval(np.array([[1, 1]] * 2))
    assert ratio_with_interval(np.array([[0, 1]] * 100))["high"] == pytest.approx(0.0362, abs=1e-4)  # the rule of three
