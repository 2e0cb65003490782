"""The end token as one more token of its answer, by hand and against slow loops."""

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.algorithms import GDPO, RTT, EndToken, FactoredRTT
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences


def by_hand() -> Experience:
    """Two responses of two words, of which the first one ended."""
    p = [[1.0, 0.5, 0.9]]
    return Experience.by_hand(
        torch.tensor([[True], [False]]),
        torch.tensor([p, p]),
        answer_mask=torch.tensor([[True, True, False], [True, True, True]]),
        response_mask=torch.ones(2, 3) > 0,
        truncated=torch.tensor([False, True]),
    )


def test_end_token_by_hand() -> None:
    # w of (1, .5, .5) is (1.5, .75, .75) in the first response; in the second, cut off, that of (1, .5, .9) / .8.
    a = 0.5**0.5
    found = EndToken(FactoredRTT(alpha=0))(by_hand()).advantages
    expected = torch.tensor([[1.5 * a, 0.75 * a, 0.75 * a], [-1.25 * a, -0.625 * a, -1.125 * a]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert FactoredRTT(alpha=0)(by_hand()).advantages[0, 2] == 0  # without it


@pytest.mark.parametrize("algorithm", [RTT(), FactoredRTT(), GDPO()])
@settings(max_examples=60, deadline=None)
@given(window=experiences())
def test_end_token_equals_slow_loops(algorithm, window: Experience) -> None:
    expected = algorithm(oracle.with_end_tokens(window)).advantages
    torch.testing.assert_close(EndToken(algorithm)(window).advantages, expected)


def test_what_it_is_given_stays_as_it_was() -> None:
    window = by_hand()
    before = window.relevance.clone(), window.answer_mask.clone()
    EndToken(RTT())(window)
    assert torch.equal(window.relevance, before[0])
    assert torch.equal(window.answer_mask, before[1])
