"""PAPO by hand and against slow loops."""

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.algorithms import GRPO, PAPO
from rtt_lightning.functional.rewards import all_or_nothing, hard_all_or_nothing, satisfaction_rate, soft_rate
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences


def of(met: list[list[int]], hard: list[int], undecided: tuple[tuple[int, int], ...] = ()) -> Experience:
    """Responses to one prompt, whose criteria are hard or soft."""
    verdicts = torch.tensor(met) > 0
    scorable = torch.ones(verdicts.shape) > 0
    for row, criterion in undecided:
        scorable[row, criterion] = False
    return Experience.by_hand(verdicts, scorable=scorable, hard=(torch.tensor(hard) > 0).expand(verdicts.shape))


def credit(window: Experience) -> list[float]:
    return PAPO()(window).advantages[:, 0].tolist()


def test_papo_by_hand() -> None:
    # One hard criterion, two soft ones. Outcomes (1, 1, 0, 0): +-.86603 (mean .5, sample std .57735).
    # Qualities of those that pass (1, .5): +-.70711; those of the others have no part.
    window = of([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0]], hard=[1, 0, 0])
    credited = PAPO()(window)
    assert credited.advantages[:, 0].tolist() == pytest.approx([1.57313, 0.15892, -0.86603, -0.86603], abs=1e-4)
    assert credited.rewards is not None
    assert credited.rewards.tolist() == [1, 1, 0, 0]
    assert credited.metrics["passed"] == 0.5
    assert credited.metrics["zero_variance_groups"] == 0


def test_without_hard_criteria_all_pass_and_without_soft_ones_nothing_is_added() -> None:
    met = [[1, 1], [1, 0], [0, 0]]
    window = of(met, hard=[0, 0])
    assert credit(window) == pytest.approx([1, 0, -1], abs=1e-5)  # of (1, .5, 0)
    assert torch.equal(PAPO()(window).advantages, GRPO()(window).advantages)
    window = of(met, hard=[1, 1])
    assert torch.equal(PAPO()(window).advantages, GRPO(all_or_nothing)(window).advantages)


def test_what_is_undecided_stays_out() -> None:
    # A hard one of the third response: outcomes (1, 0, -); it has not passed, and no quality is compared.
    a = 0.5**0.5
    assert credit(of([[1, 1], [0, 1], [1, 0]], [1, 0], undecided=((2, 0),))) == pytest.approx([a, -a, 0], abs=1e-5)
    # The soft one of the first: all pass, qualities (-, 1, 0).
    assert credit(of([[1, 1], [1, 1], [1, 0]], [1, 0], undecided=((0, 1),))) == pytest.approx([0, a, -a], abs=1e-5)


def test_a_failure_earns_nothing_by_its_quality() -> None:
    found = credit(of([[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]], hard=[1, 0, 0]))
    assert found[2] == found[3] < 0
    assert found[0] < found[1]


@settings(max_examples=100, deadline=None)
@given(experiences())
def test_papo_equals_slow_loops(window: Experience) -> None:
    found = PAPO()(window).advantages.double()
    expected = oracle.at_tokens(window, oracle.papo(window))
    torch.testing.assert_close(found, torch.tensor(expected).double().reshape(found.shape), atol=1e-6, rtol=1e-6)


def test_each_part_is_of_ones_own_choice_and_without_its_spread() -> None:
    window = of([[1, 1], [1, 0], [0, 1]], hard=[1, 0])
    parts = PAPO(hard_all_or_nothing, soft_rate, scale_rewards=False)(window).advantages[:, 0]
    torch.testing.assert_close(parts, torch.tensor([1 / 3 + 0.5, 1 / 3 - 0.5, -2 / 3]))  # (1, 1, 0) and (1, 0)
    whole = PAPO(all_or_nothing, satisfaction_rate)(window).advantages
    torch.testing.assert_close(whole, GRPO(all_or_nothing)(window).advantages)  # one passes: nothing to compare it with
