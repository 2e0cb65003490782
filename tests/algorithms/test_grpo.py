"""GRPO by hand and against slow loops."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from rtt_lightning.algorithms import GRPO
from rtt_lightning.functional.rewards import all_or_nothing, hard_times_soft, satisfaction_rate
from rtt_lightning.types import Experience
from tests.experiences import experiences
from tests.functional import oracle

REWARDS = {
    all_or_nothing: oracle.all_or_nothing,
    satisfaction_rate: oracle.mean_desired,
    hard_times_soft: oracle.hard_times_soft,
}


def test_grpo_by_hand() -> None:
    met = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 0], [0, 1]]) > 0
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True], [True, True]])
    groups = torch.tensor([5, 5, 5, 1, 1])
    window = Experience.by_hand(met, torch.zeros(5, 2, 2), group_ids=groups, response_mask=mask)
    # Group 5: (1, .5, 0) has mean .5 and sample std .5: (1, 0, -1). Group 1: (.5, .5) does not differ: 0.
    credited = GRPO()(window)
    expected = torch.tensor([[1.0, 1], [0, 0], [-1, -1], [0, 0], [0, 0]])
    torch.testing.assert_close(credited.advantages, expected, atol=1e-5, rtol=0)
    assert credited.rewards is not None
    assert credited.rewards.tolist() == [1, 0.5, 0, 0.5, 0.5]
    assert credited.metrics["zero_variance_groups"] == 0.5
    # Dr. GRPO leaves the division out. All or nothing: (1, 0, 0) less 1/3, and (0, 0).
    plain = GRPO(all_or_nothing, scale_rewards=False)(window).advantages
    torch.testing.assert_close(plain, torch.tensor([[2 / 3, 2 / 3], [-1 / 3, 0], [-1 / 3, -1 / 3], [0, 0], [0, 0]]))


@pytest.mark.parametrize("reward", REWARDS)
@settings(max_examples=60, deadline=None)
@given(window=experiences())
def test_grpo_equals_slow_loops(reward, window: Experience) -> None:
    expected = oracle.by_row(window, REWARDS[reward])
    groups = window.group_ids.tolist()
    advantages = oracle.group_normalize([r for r, _ in expected], [k for _, k in expected], groups)
    credited = GRPO(reward)(window)
    by_token = torch.tensor(advantages, dtype=credited.advantages.dtype)[:, None] * window.response_mask
    torch.testing.assert_close(credited.advantages, by_token)
    found = zip(credited.rewards.tolist(), credited.known.tolist(), strict=True)
    assert [*found] == [(pytest.approx(r), k) for r, k in expected]
    flat = [not any(a for a, g in zip(advantages, groups, strict=True) if g == group) for group in {*groups}]
    if flat:
        assert credited.metrics["zero_variance_groups"].item() == pytest.approx(sum(flat) / len(flat))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("met", [[[1, 1]] * 7, [[0, 0]] * 7, [[1, 0], [0, 1]], [[1, 0]]])
def test_what_does_not_differ_and_a_response_alone_earn_exactly_nothing(met: list[list[int]], scale: bool) -> None:
    window = Experience.by_hand(torch.tensor(met) > 0, torch.rand(len(met), 2, 3))
    assert GRPO(scale_rewards=scale)(window).advantages.tolist() == [[0.0] * 3] * len(met)


def test_a_reward_of_ones_own_is_a_function_of_the_experience() -> None:
    def forgiving(experience: Experience) -> tuple[Tensor, Tensor]:
        missed = (experience.exists & ~experience.as_desired).sum(1)
        return (missed <= 1).float(), experience.decided

    met = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1]]) > 0
    scorable = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0]]) > 0
    credited = GRPO(forgiving)(Experience.by_hand(met, scorable=scorable))
    # one missed, two missed, undecided: (1, 0) of two known ones
    assert credited.advantages[:, 0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0], rel=1e-5)
