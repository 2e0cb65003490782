"""Curves of accuracy by KL, and the bootstrap over seeds and prompts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.curves import at_kl, common_kl, crossed_bootstrap, estimate, holm


def test_values_are_linear_between_evaluations_and_those_of_the_first_crossing() -> None:
    kls, values = [0.0, 2.0, 1.0, 4.0], np.array([[0.0], [10.0], [20.0], [50.0]])
    assert at_kl(kls, values, 0.0) == [0.0]
    assert at_kl(kls, values, 0.5) == [2.5]
    assert at_kl(kls, values, 1.5) == [7.5]  # not on the way back, nor the second time
    assert at_kl(kls, values, 3.0) == [40.0]  # 20 + 2/3 of 30
    assert at_kl(kls, values, 4.0) == [50.0]
    assert at_kl(kls, values, 4.1) is None


def test_two_evaluations_of_equal_kl_count_as_the_first() -> None:
    assert at_kl([0.0, 0.0, 1.0], np.array([[1.0], [2.0], [3.0]]), 0.0) == [1.0]


def test_the_common_kl_is_that_of_the_run_that_gets_least_far() -> None:
    assert common_kl([[0.0, 3.0, 2.0], [0.0, 1.0, 5.0]]) == 3.0


def test_the_first_row_is_the_sample_itself_pooled_over_seeds_and_prompts() -> None:
    counts = np.array([[[[1, 2], [0, 1]], [[2, 2], [1, 3]]]], float)  # one arm, two seeds, two prompts
    assert crossed_bootstrap(counts)[0] == pytest.approx([4 / 8])


def test_arms_are_paired_by_seed_and_prompt() -> None:
    """An arm that is better by one success everywhere is so in every resample, however seeds and prompts differ."""
    random = np.random.default_rng(0)
    worse = random.integers(0, 9, size=(5, 40, 1))
    trials = np.full_like(worse, 10)
    counts = np.stack([np.concatenate([worse, trials], 2), np.concatenate([worse + 1, trials], 2)]).astype(float)
    shares = crossed_bootstrap(counts)
    np.testing.assert_allclose(shares[:, 1] - shares[:, 0], 0.1, atol=1e-12)
    assert shares[1:, 0].std() > 0.01


def test_the_spread_is_that_of_seeds_as_well_as_of_prompts() -> None:
    """Shares of seeds 0.2 and 0.8, all prompts alike: a resample has one of them twice in half the cases."""
    counts = np.zeros((1, 2, 30, 2))
    counts[..., 1] = 10
    counts[0, 0, :, 0], counts[0, 1, :, 0] = 2, 8
    found = crossed_bootstrap(counts)[1:, 0]
    assert {round(value, 6) for value in found} == {0.2, 0.5, 0.8}
    assert (found == 0.5).mean() == pytest.approx(0.5, abs=0.06)  # five standard errors


def test_an_interval_holds_the_middle_and_p_counts_what_is_beyond_zero() -> None:
    values = np.concatenate([[0.5], np.linspace(-0.05, 0.95, 1001)])
    found = estimate(values)
    assert found["mean"] == 0.5
    assert (found["low"], found["high"]) == pytest.approx((-0.025, 0.925))
    assert found["p"] == pytest.approx(2 * (51 + 1) / 1002)  # of 1001 values 51 are at most 0
    assert estimate(np.array([1.0, 1.0, 1.0]))["p"] == pytest.approx(2 / 3)
    assert np.isnan(estimate(np.array([np.nan, np.nan]))["low"])


def test_correction_for_the_number_of_methods_by_hand() -> None:
    # In order 0.01, 0.02, 0.04: times 3, 2 and 1, never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrected_values_are_not_below_the_given_ones_and_keep_their_order(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(p <= corrected <= 1 for p, corrected in zip(p_values, found, strict=True))
    pairs = sorted(zip(p_values, found, strict=True))
    assert [corrected for _, corrected in pairs] == sorted(corrected for _, corrected in pairs)
