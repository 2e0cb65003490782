"""Rewards by hand, negative weights and unscorable criteria included."""

import pytest
import torch

from rtt_lightning.functional.rewards import (
    all_or_nothing,
    all_or_nothing_lower_bound,
    satisfaction_rate,
    weighted_mean,
)

# rows: all met | one unmet | unwanted one met | undecided | undecided, another unmet | nothing scorable | no criterion
MET = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
SCORABLE = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
WEIGHTS = torch.tensor([[1.0] * 3, [1.0] * 3, [1.0, 1.0, -2.0], [1.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3])


def test_all_or_nothing() -> None:
    reward, known = all_or_nothing(MET, SCORABLE, WEIGHTS)
    assert reward.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert known.tolist() == [True, True, True, False, False, False, False]


def test_the_lower_bound_of_all_or_nothing_takes_what_is_undecided_as_not_desired() -> None:
    reward, known = all_or_nothing_lower_bound(MET, SCORABLE, WEIGHTS)
    assert reward.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert known.tolist() == [True] * 6 + [False]
    # An undecided unwanted criterion too, whatever stands in `met`.
    for met in (True, False):
        reward, _ = all_or_nothing_lower_bound(
            torch.tensor([[True, met]]), torch.tensor([[True, False]]), torch.tensor([[1.0, -1.0]])
        )
        assert reward.tolist() == [0]


def test_satisfaction_rate() -> None:
    reward, known = satisfaction_rate(MET, SCORABLE, WEIGHTS)
    # 3/3, 2/3, two wanted ones met and the unwanted one too: 2/3, 2/2, 1/2, -, -
    assert reward.tolist() == pytest.approx([1, 2 / 3, 2 / 3, 1, 0.5, 0, 0])
    assert known.tolist() == [True] * 5 + [False] * 2


def test_weighted_mean() -> None:
    weights = torch.tensor([[1.0, 3.0, -2.0]]).expand(3, 3)
    met = torch.tensor([[1, 1, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.bool)
    reward, known = weighted_mean(met, torch.ones(3, 3, dtype=torch.bool), weights)
    assert reward.tolist() == pytest.approx([0.5, 0.75, -0.5])  # (1 + 3 - 2) / 4, 3 / 4, -2 / 4
    assert known.all()


def test_weighted_mean_leaves_unscorable_out_of_both_sums() -> None:
    weights = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    scorable = torch.tensor([[True, False], [False, False]])
    reward, known = weighted_mean(torch.ones(2, 2, dtype=torch.bool), scorable, weights)
    assert reward.tolist() == [1.0, 0.0]
    assert known.tolist() == [True, False]


def test_weights_without_a_positive_one_are_refused() -> None:
    with pytest.raises(ValueError, match="positive weight in every rubric"):
        weighted_mean(MET[:1], SCORABLE[:1], torch.tensor([[-1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("reward", [all_or_nothing, all_or_nothing_lower_bound, satisfaction_rate, weighted_mean])
def test_padding_changes_nothing(reward) -> None:
    rows = slice(0, 5)
    plain = reward(MET[rows], SCORABLE[rows], WEIGHTS[rows])
    wider = [torch.nn.functional.pad(part[rows], (0, 4)) for part in (MET, SCORABLE, WEIGHTS)]
    for one, other in zip(plain, reward(*wider), strict=True):
        assert torch.equal(one, other)
