"""CoRT by hand, against slow loops, and over a run."""

from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.algorithms import GRPO, CoRT
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences

NAN = torch.nan


def compared(window: Experience, seed: int = 0) -> Experience:
    """With a contrast for three responses of four."""
    generator = torch.Generator().manual_seed(seed)
    contrast = 2 * torch.randn(window.response_mask.shape, generator=generator, dtype=torch.double)
    without = torch.randint(0, 4, (len(contrast), 1), generator=generator) == 0
    return replace(window, contrast=torch.where(without, NAN, contrast))


def by_hand(version: int) -> Experience:
    """Two responses of two words and an end token; the second one has no contrast."""
    window = Experience.by_hand(
        torch.tensor([[True], [False]]),
        torch.ones(2, 1, 3),
        answer_mask=torch.tensor([[True, True, False]] * 2),
        response_mask=torch.ones(2, 3) > 0,
    )
    return replace(window, contrast=torch.tensor([[log(3), -log(3), 5.0], [NAN, NAN, NAN]]), version=version)


def test_cort_by_hand() -> None:
    # s = (3/4, 1/4) - 1/2 = +-1/4. At the end of the rise raw weights are 1 +- 1/4, of mean 1; halfway smoothstep is
    # 1/2: 1 +- 1/8. Not yet, at its start.
    a = 0.5**0.5
    for version, s in ((10, 0.0), (15, 1 / 8), (20, 1 / 4), (99, 1 / 4)):
        credited = CoRT(warmup=10, rise=10)(by_hand(version))
        expected = torch.tensor([[a * (1 + s), a * (1 - s), a], [-a, -a, -a]])
        torch.testing.assert_close(credited.advantages, expected, atol=1e-5, rtol=0)
        assert credited.metrics["contrast_lambda"] == pytest.approx(4 * s)
        assert credited.metrics["without_contrast"] == 0.5


def test_each_setting_by_hand() -> None:
    # b = log 3 moves the contrasts to (0, -log 9): s = (0, -2/5). tau 2 doubles them: s = (9/10, 1/10) - 1/2 = +-2/5.
    a = 0.5**0.5
    moved = CoRT(b=log(3), rise=0)(by_hand(0)).advantages[0]
    torch.testing.assert_close(moved, a * torch.tensor([1 / 0.8, 0.6 / 0.8, 1]), atol=1e-5, rtol=0)  # mean of 1 and .6
    sharper = CoRT(tau=2.0, eta=0.5, rise=0)(by_hand(0)).advantages[0]
    torch.testing.assert_close(sharper, a * torch.tensor([1.2, 0.8, 1]), atol=1e-5, rtol=0)
    assert CoRT(warmup=3, rise=0).progress(2) == 0
    assert CoRT(warmup=3, rise=0).progress(3) == 1
    assert (CoRT().smallest_group, CoRT().token_credit, CoRT().weighs_tokens) == (2, False, True)


def test_without_a_contrast_it_says_which_relevance_source_gives_one() -> None:
    with pytest.raises(ValueError, match=r"^CoRT .* set rollout\.relevance to rtt_lightning\.CriteriaContrast$"):
        CoRT()(Experience.by_hand(torch.tensor([[True]])))
    with pytest.raises(ValueError, match=r"^eta must be in \[0, 2\), so that weights stay positive, got 2$"):
        CoRT(eta=2)


@settings(max_examples=100, deadline=None)
@given(experiences(), st.integers(0, 100), st.sampled_from([0.5, 3.0]), st.sampled_from([-1.0, 0.0]))
def test_cort_equals_slow_loops(window: Experience, seed: int, tau: float, b: float) -> None:
    window = compared(window, seed)
    found = CoRT(tau=tau, b=b, eta=1.5, rise=0)(window).advantages.double()
    expected = torch.tensor(oracle.cort(window, tau, b, 1.5)).double().reshape(found.shape)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_weights_of_mean_one_leave_the_sum_over_a_response_as_it_is(window: Experience) -> None:
    window = compared(window)
    response = GRPO()(window).advantages
    torch.testing.assert_close(CoRT(rise=0)(window).advantages.sum(1), response.double().sum(1), atol=1e-6, rtol=1e-6)
