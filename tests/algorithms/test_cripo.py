"""CriPO's flip by hand and against slow loops."""

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.algorithms import GRPO, CriPO
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences


def test_cripo_by_hand() -> None:
    # Two criteria, the second one unwanted; rewards (1, .5): +-.70711. The second response, below the mean, has only
    # the second as desired: its tokens of .5 and more are flipped, those of the first and the end token are not.
    p = [[0.9, 0.1, 0.4, 0.1], [0.2, 0.5, 0.6, 0.9]]
    window = Experience.by_hand(
        torch.tensor([[True, False], [False, False]]),
        torch.tensor([p, p]),
        weights=torch.tensor([[1.0, -1.0]] * 2),
        answer_mask=torch.tensor([[True, True, True, False]] * 2),
        response_mask=torch.ones(2, 4) > 0,
    )
    a = 0.5**0.5
    credited = CriPO()(window)
    expected = torch.tensor([[a, a, a, a], [-a, a, a, -a]])
    torch.testing.assert_close(credited.advantages, expected, atol=1e-5, rtol=0)
    assert credited.metrics["flipped"] == 2 / 8
    assert torch.equal(CriPO(threshold=1.1)(window).advantages, GRPO()(window).advantages)
    assert (CriPO().smallest_group, CriPO().token_credit) == (2, True)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 1.0])
@settings(max_examples=60, deadline=None)
@given(window=experiences())
def test_cripo_equals_slow_loops(threshold: float, window: Experience) -> None:
    found = CriPO(threshold=threshold)(window).advantages.double()
    expected = torch.tensor(oracle.cripo(window, threshold)).double().reshape(found.shape)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
