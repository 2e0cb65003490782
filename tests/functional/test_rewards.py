"""Rewards by hand and against slow loops, negative weights, graded values and unscorable criteria included."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from rtt_lightning.functional.rewards import (
    all_or_nothing,
    all_or_nothing_lower_bound,
    hard_all_or_nothing,
    hard_times_soft,
    hybrid,
    satisfaction_rate,
    soft_rate,
    weighted_mean,
)
from rtt_lightning.types import Experience
from tests.experiences import experiences, widened
from tests.functional import oracle

# rows: all met | one unmet | unwanted one met | undecided | undecided, another unmet | nothing scorable | no criterion
MET = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
SCORABLE = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
WEIGHTS = torch.tensor([[1.0] * 3, [1.0] * 3, [1.0, 1.0, -2.0], [1.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3])
CASES = Experience.by_hand(MET, weights=WEIGHTS, scorable=SCORABLE)
BY_LOOPS = {
    all_or_nothing: oracle.all_or_nothing,
    all_or_nothing_lower_bound: oracle.lower_bound,
    satisfaction_rate: oracle.mean_desired,
    weighted_mean: oracle.weighted_mean,
    hard_times_soft: oracle.hard_times_soft,
    hybrid: oracle.hybrid,
    hard_all_or_nothing: oracle.hard_all_or_nothing,
    soft_rate: oracle.soft_rate,
}


def test_all_or_nothing() -> None:
    reward, known = all_or_nothing(CASES)
    assert reward.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert known.tolist() == [True, True, True, False, False, False, False]


def test_the_lower_bound_of_all_or_nothing_takes_what_is_undecided_as_not_desired() -> None:
    reward, known = all_or_nothing_lower_bound(CASES)
    assert reward.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert known.tolist() == [True] * 6 + [False]
    # An undecided unwanted criterion too, whatever stands in `met`.
    for met in (True, False):
        scorable, weights = torch.tensor([[True, False]]), torch.tensor([[1.0, -1.0]])
        undecided = Experience.by_hand(torch.tensor([[True, met]]), weights=weights, scorable=scorable)
        assert all_or_nothing_lower_bound(undecided)[0].tolist() == [0]


def test_satisfaction_rate() -> None:
    reward, known = satisfaction_rate(CASES)
    # 3/3, 2/3, two wanted ones met and the unwanted one too: 2/3, 2/2, 1/2, -, -
    assert reward.tolist() == pytest.approx([1, 2 / 3, 2 / 3, 1, 0.5, 0, 0])
    assert known.tolist() == [True] * 5 + [False] * 2


def test_hybrid() -> None:
    reward, known = hybrid(CASES)
    # (1 + 1) / 2, (0 + 2/3) / 2 twice; the others are not decided as a whole, or have no criterion
    assert reward.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 0, 0, 0, 0])
    assert known.tolist() == [True] * 3 + [False] * 4


def test_hard_and_soft_sides_alone() -> None:
    """The first criterion is hard, the other two are soft, the last one unwanted."""
    hard, weights = torch.tensor([[True, False, False]]).expand(6, 3), torch.tensor([[1.0, 1.0, -1.0]] * 6)
    met = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]]) > 0
    weights[4, 0], weights[5] = 0.0, 0.0  # no hard criterion, no criterion
    scorable = weights != 0
    scorable[3, 0] = scorable[0, 1] = False
    window = Experience.by_hand(met, weights=weights, scorable=scorable, hard=hard)
    reward, known = hard_all_or_nothing(window)
    assert reward.tolist() == [1, 1, 0, 0, 1, 0]
    assert known.tolist() == [True, True, True, False, True, False]
    reward, known = soft_rate(window)
    assert reward.tolist() == [1, 0.5, 0.5, 1, 1, 0]  # of the decided: 1/1, (0 + 1) / 2, (1 + 0) / 2, 2/2, 2/2
    assert known.tolist() == [True] * 5 + [False]
    assert hard_all_or_nothing(Experience.by_hand(met))[1].all()  # all are hard
    assert not soft_rate(Experience.by_hand(met))[1].any()


def test_weighted_mean() -> None:
    weights = torch.tensor([[1.0, 3.0, -2.0]]).expand(3, 3)
    met = torch.tensor([[1, 1, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.bool)
    reward, known = weighted_mean(Experience.by_hand(met, weights=weights))
    assert reward.tolist() == pytest.approx([0.5, 0.75, -0.5])  # (1 + 3 - 2) / 4, 3 / 4, -2 / 4
    assert known.all()


def test_weighted_mean_leaves_unscorable_out_of_both_sums() -> None:
    weights, scorable = torch.tensor([[1.0, 3.0]] * 2), torch.tensor([[True, False], [False, False]])
    met = torch.ones(2, 2, dtype=torch.bool)
    reward, known = weighted_mean(Experience.by_hand(met, weights=weights, scorable=scorable))
    assert reward.tolist() == [1.0, 0.0]
    assert known.tolist() == [True, False]


def test_weights_without_a_positive_one_are_refused() -> None:
    unwanted = Experience.by_hand(MET[:1], weights=torch.tensor([[-1.0, -1.0, 0.0]]))
    with pytest.raises(ValueError, match="positive weight in every rubric"):
        weighted_mean(unwanted)


def test_hard_times_soft() -> None:
    """Criteria 0 and 1 are hard, 2 and 3 soft; criterion 3 is unwanted. A weight of 5 counts as one of 1."""
    met = [
        [1, 1, 1, 0],  # 2/2 x 2/2
        [1, 0, 1, 0],  # 1/2 x 2/2
        [1, 0, 1, 1],  # 1/2 x 1/2
        [0, 0, 1, 0],  # 0/2 x 2/2
        [1, 0, 1, 0],  # the second hard one is undecided: 1/1 x 2/2
        [1, 1, 1, 0],  # both soft ones are: unknown
        [1, 0, 0, 0],  # no soft criterion: 1/2 x 1
        [0, 0, 1, 1],  # no hard criterion: 1 x 1/2
        [0, 0, 0, 0],  # no criterion
    ]
    weights, scorable = torch.tensor([[5.0, 1, 1, -1]] * 9), torch.ones(9, 4, dtype=torch.bool)
    weights[6, 2:] = weights[7, :2] = weights[8] = 0.0
    scorable &= weights != 0
    scorable[4, 1] = scorable[5, 2] = scorable[5, 3] = False
    hard = torch.tensor([[True, True, False, False]]).expand(9, 4)
    cases = Experience.by_hand(torch.tensor(met) > 0, weights=weights, scorable=scorable, hard=hard)
    reward, known = hard_times_soft(cases)
    assert reward.tolist() == [1, 0.5, 0.25, 0, 1, 0, 0.5, 0.5, 0]
    assert known.tolist() == [True] * 5 + [False] + [True] * 2 + [False]


def test_a_graded_value_counts_by_its_degree_and_an_unwanted_one_by_what_is_missing() -> None:
    graded = Experience.by_hand(
        torch.tensor([[True, True, False]]),
        weights=torch.tensor([[1.0, 3.0, -1.0]]),
        value=torch.tensor([[1.0, 0.5, 0.25]]),
        hard=torch.tensor([[True, True, False]]),
    )
    assert satisfaction_rate(graded)[0].item() == pytest.approx((1 + 0.5 + 0.75) / 3)
    assert weighted_mean(graded)[0].item() == pytest.approx((1 + 3 * 0.5 - 0.25) / 4)
    assert hard_times_soft(graded)[0].item() == pytest.approx((1 + 0.5) / 2 * 0.75)
    assert all_or_nothing(graded)[0].item() == 1  # of verdicts alone


@pytest.mark.parametrize("reward", BY_LOOPS)
@settings(max_examples=60, deadline=None)
@given(experience=experiences())
def test_rewards_equal_slow_loops_and_padding_changes_nothing(reward, experience: Experience) -> None:
    if reward is weighted_mean:  # which wants a positive weight in every row
        wanted = torch.cat([experience.weights[:, :1].abs().clamp(min=1), experience.weights[:, 1:]], 1)
        experience = replace(experience, weights=wanted)
    found, known = reward(experience)
    expected = oracle.by_row(experience, BY_LOOPS[reward])
    assert [*zip(found.tolist(), known.tolist(), strict=True)] == [(pytest.approx(r), k) for r, k in expected]
    for one, other in zip((found, known), reward(widened(experience, 4, 2)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
