"""Intervals of shares against binomial tails and normal approximations."""

import math

import numpy as np
import pytest

from rtt_lightning.functional.intervals import (
    bootstrap_interval,
    difference_with_interval,
    ratio_with_interval,
    resamples,
)


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


def test_the_interval_is_that_of_a_proportion_where_prompts_have_one_trial() -> None:
    counts = np.array([[1, 1]] * 30 + [[0, 1]] * 70)
    found = ratio_with_interval(counts)
    error = math.sqrt(0.3 * 0.7 / 99)  # sample variance of a 0/1 variable over n
    assert found["mean"] == pytest.approx(0.3)
    assert found["low"] == pytest.approx(0.3 - 1.96 * error)
    assert found["high"] == pytest.approx(0.3 + 1.96 * error)


def test_samples_of_one_prompt_do_not_make_the_interval_narrow() -> None:
    once = ratio_with_interval(np.array([[1, 1], [0, 1], [1, 1], [0, 1]]))
    often = ratio_with_interval(np.array([[5, 5], [0, 5], [5, 5], [0, 5]]))  # all five of a prompt agree
    assert often == pytest.approx(once)
    assert 0 <= once["low"] < once["high"] <= 1


def test_without_trials_there_is_no_figure_and_without_a_second_prompt_no_interval() -> None:
    assert all(math.isnan(value) for value in ratio_with_interval(np.zeros((3, 2))).values())
    found = ratio_with_interval(np.array([[1, 2]]))
    assert found["mean"] == 0.5
    assert math.isnan(found["low"])


def paired(*prompts: tuple[int, int, int, int]) -> np.ndarray:
    """Of each prompt successes and trials before, successes and trials after."""
    return np.array(prompts).T.reshape(2, 2, -1)


def test_a_difference_of_a_constant_gain_has_no_width() -> None:
    assert difference_with_interval(paired(*[(2, 4, 3, 4)] * 4)) == pytest.approx((0.25, 0.25, 0.25))


def test_the_interval_of_a_difference_is_that_of_the_resampled_mean() -> None:
    """100 prompts of one trial: 30 gain, 10 lose, 60 stay. Mean 0.2, variance 0.4 - 0.04 = 0.36, so the standard error
    is 0.06 and the 95 % interval about 0.2 -+ 1.96 * 0.06.
    """
    counts = paired(*[(0, 1, 1, 1)] * 30, *[(1, 1, 0, 1)] * 10, *[(1, 1, 1, 1)] * 40, *[(0, 1, 0, 1)] * 20)
    mean, low, high = difference_with_interval(counts)
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - 1.96 * 0.06, 0.2 + 1.96 * 0.06), abs=0.015)
    assert mean == pytest.approx(0.2)
    assert difference_with_interval(counts) == (mean, low, high)  # seeded
    assert difference_with_interval(counts[::-1]) == pytest.approx((-mean, -high, -low), abs=1e-9)


def test_prompts_without_trials_take_no_part_in_a_difference() -> None:
    assert difference_with_interval(paired((0, 1, 1, 1), (0, 0, 0, 0))) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("passed", [0, 2])
def test_no_change_of_a_share_at_its_end_is_known_only_as_far_as_prompts_go(passed: int) -> None:
    reach = 1 - 0.025 ** (1 / 30)
    assert difference_with_interval(paired(*[(passed, 2, passed, 2)] * 30)) == pytest.approx((0, -reach, reach))


def test_the_interval_by_bootstrap_is_that_of_a_mean() -> None:
    values = np.array([1.0] * 30 + [0.0] * 70)
    draws = resamples(100)
    assert (draws.sum(1) == 100).all()
    found = bootstrap_interval(draws @ values / 100, 100)
    error = math.sqrt(0.3 * 0.7 / 100)
    expected = {"mean": 0.3, "low": 0.3 - 1.96 * error, "high": 0.3 + 1.96 * error}
    assert found == pytest.approx(expected, abs=0.015)


def test_a_statistic_without_spread_is_known_only_as_far_as_prompts_go() -> None:
    reach = 1 - 0.025 ** (1 / 30)
    found = bootstrap_interval(np.ones(9), 30)
    assert found == pytest.approx({"mean": 1, "low": 1 - reach, "high": 1})
    assert bootstrap_interval(np.zeros(9), 30, lowest=-1)["low"] == pytest.approx(-reach)
    assert math.isnan(bootstrap_interval(np.ones(9), 1)["low"])
    assert math.isnan(bootstrap_interval(np.full(9, np.nan), 30)["mean"])
