"""RLOO by hand and against slow loops."""

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.algorithms import GRPO, RLOO
from rtt_lightning.functional.rewards import all_or_nothing, satisfaction_rate
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences
from tests.functional.oracle import all_or_nothing as slow_all_or_nothing
from tests.functional.oracle import by_row, mean_desired


def test_rloo_by_hand() -> None:
    met = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 0], [0, 1], [0, 0]]) > 0
    scorable = torch.ones(6, 2) > 0
    scorable[5] = False
    window = Experience.by_hand(met, scorable=scorable, group_ids=torch.tensor([5, 5, 5, 1, 1, 1]))
    # Group 5: (1, .5, 0): 1 - .25, .5 - .5, 0 - .75. Group 1: (.5, .5), the third one unknown.
    credited = RLOO()(window)
    torch.testing.assert_close(credited.advantages[:, 0], torch.tensor([0.75, 0, -0.75, 0, 0, 0]))
    assert credited.metrics["zero_variance_groups"] == 0.5


@pytest.mark.parametrize(("reward", "slow"), [(satisfaction_rate, mean_desired), (all_or_nothing, slow_all_or_nothing)])
@settings(max_examples=60, deadline=None)
@given(window=experiences())
def test_rloo_equals_slow_loops(reward, slow, window: Experience) -> None:
    expected = oracle.at_tokens(window, oracle.rloo(by_row(window, slow), window.group_ids.tolist()))
    found = RLOO(reward)(window).advantages.double()
    torch.testing.assert_close(found, torch.tensor(expected).double().reshape(found.shape), atol=1e-6, rtol=1e-6)


def test_it_is_dr_grpo_times_n_over_one_less() -> None:
    met = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]]) > 0
    plain = GRPO(scale_rewards=False)(Experience.by_hand(met)).advantages
    torch.testing.assert_close(RLOO()(Experience.by_hand(met)).advantages, plain * 4 / 3)
