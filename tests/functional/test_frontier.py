"""The most that a KL can buy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.functional.frontier import frontier, gain_at


def test_two_samples_by_hand() -> None:
    """Rewards 0 and 1: with weight w on the second, the gain is w - 1/2 and the KL w log 2w + (1-w) log 2(1-w)."""
    kl, gain = frontier(np.array([[0.0, 1.0]]))
    weight = gain + 0.5
    inside = weight < 1 - 1e-9
    expected = weight * np.log(2 * weight) + (1 - weight) * np.log(
        2 * (1 - weight), where=inside, out=np.zeros_like(kl)
    )
    np.testing.assert_allclose(kl, expected, atol=1e-9)
    assert (kl[0], gain[0]) == (0, 0)
    assert (kl[-1], gain[-1]) == pytest.approx((np.log(2), 0.5))


def test_a_small_kl_buys_the_square_root_of_twice_it_times_the_variance() -> None:
    rewards = np.random.default_rng(0).uniform(size=(20, 400))
    variance = rewards.var(1).mean()
    reached = frontier(rewards)
    for kl in (1e-4, 1e-3):
        assert gain_at(kl, reached) == pytest.approx(np.sqrt(2 * kl * variance), rel=0.03)


def test_samples_tell_nothing_beyond_their_number() -> None:
    reached = frontier(np.random.default_rng(0).uniform(size=(5, 16)))
    assert reached[0][-1] == pytest.approx(np.log(16), abs=1e-3)
    assert np.isnan(gain_at(np.log(16) + 0.01, reached))


def test_equal_rewards_buy_nothing() -> None:
    kl, gain = frontier(np.full((3, 4), 0.7))
    assert not kl.any()
    assert not gain.any()


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_no_other_weighting_of_the_samples_does_better(prompts: int, samples: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rewards = random.integers(0, 5, size=(prompts, samples)) / 4
    reached = frontier(rewards)
    assert (np.diff(reached[0]) >= -1e-9).all()
    assert (reached[1] <= np.minimum(np.sqrt(reached[0] / 2), 1 - rewards.mean()) + 1e-9).all()
    for strength in (0.3, 1.0, 3.0):
        weights = random.dirichlet(np.full(samples, strength), size=prompts)
        kl = (weights * np.log(np.maximum(weights * samples, 1e-300))).sum(1).mean()
        gain = (weights * rewards).sum(1).mean() - rewards.mean()
        best = gain_at(kl, reached)
        assert np.isnan(best) or gain <= best + 2e-3  # the curve is linear between its points
