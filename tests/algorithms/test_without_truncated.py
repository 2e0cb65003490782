"""Truncated responses take part in nothing."""

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.algorithms import GDPO, GRPO, RTT, FactoredRTT, WithoutTruncated
from rtt_lightning.types import Experience
from tests.experiences import experiences


def test_without_truncated_by_hand() -> None:
    # Of (1, .5, 0, 1) the last is cut off: (1, .5, 0) is compared.
    met = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]]) > 0
    credited = WithoutTruncated(GRPO())(Experience.by_hand(met, truncated=torch.tensor([0, 0, 0, 1]) > 0))
    assert credited.advantages[:, 0].tolist() == pytest.approx([1, 0, -1, 0], abs=1e-5)
    assert credited.trained is not None
    assert credited.known is not None
    assert credited.trained.tolist() == credited.known.tolist() == [True, True, True, False]


@pytest.mark.parametrize("algorithm", [GRPO(), RTT(), FactoredRTT(), GDPO()])
@settings(max_examples=40, deadline=None)
@given(window=experiences())
def test_the_others_are_credited_as_if_they_were_all(algorithm, window: Experience) -> None:
    kept = ~window.truncated
    found, expected = WithoutTruncated(algorithm)(window), algorithm(window.rows(kept))
    assert torch.equal(found.advantages[kept], expected.advantages)
    assert torch.equal(found.rewards[kept], expected.rewards)
    assert torch.equal(found.known[kept], expected.known)
    assert not found.advantages[~kept].any()
    assert not found.known[~kept].any()
    assert torch.equal(found.trained, kept)
    assert set(found.metrics) == (set(expected.metrics) if kept.any() else set())


def test_around_another_one_that_leaves_responses_out_both_count() -> None:
    window = Experience.by_hand(torch.tensor([[1], [0], [1]]) > 0, truncated=torch.tensor([1, 0, 0]) > 0)
    credited = WithoutTruncated(WithoutTruncated(GRPO()))(window)
    assert credited.trained is not None
    assert credited.trained.tolist() == [False, True, True]
