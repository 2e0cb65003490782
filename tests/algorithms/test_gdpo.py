"""GDPO by hand, against slow loops, and on two processes, simulated and real."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.algorithms import GDPO
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Experience
from tests.algorithms.together import side_by_side
from tests.experiences import experiences
from tests.functional import oracle
from tests.processes import in_group


def by_hand() -> Experience:
    """Two groups of ragged rubrics; the second criterion of the second one is unwanted and weighs 3."""
    met = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]) > 0
    weights = torch.tensor([[1.0, 1, 1]] * 3 + [[1.0, -3, 0]] * 3)
    scorable = weights != 0
    scorable[2, 1] = scorable[5] = False
    mask = torch.tensor([[True, True], [True, False]]).repeat(3, 1)
    groups = torch.tensor([8, 8, 8, 2, 2, 2])
    return Experience.by_hand(
        met, torch.zeros(6, 3, 2), weights, scorable=scorable, group_ids=groups, response_mask=mask
    )


def test_gdpo_by_hand() -> None:
    # Group 8, a third criterion that none meets: z of (1, 1, 0) is (.57735, .57735, -1.15470), of (1, 0, -)
    #   (.70711, -.70711, -), of (0, 0, 0) 0. Means over 3, 3 and 2 criteria: .42815, -.04325, -.57735.
    # Group 2: z of (1, 0, -) is (.70711, -.70711, -); both meet the unwanted one: 0. (1 z + 3 x 0) / 4:
    #   .17678, -.17678; nothing of the third response is known.
    # Window of five: mean (.42815 - .04325 - .57735 + .17678 - .17678) / 5 = -.03849, squared distances
    #   .21777 + .00002 + .29039 + .04634 + .01912 = .57365, sample std sqrt(.57365 / 4) = .37870.
    credited = GDPO()(by_hand())
    expected = torch.tensor([1.2322, -0.0126, -1.4229, 0.5684, -0.3652, 0.0])
    torch.testing.assert_close(credited.advantages[:, 0], expected, atol=1e-4, rtol=0)
    assert credited.advantages[1::2, 1].tolist() == [0, 0, 0]  # outside the response
    assert torch.equal(credited.advantages[::2, 1], credited.advantages[::2, 0])
    assert credited.rewards is not None
    assert credited.known is not None
    assert credited.rewards.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 1 / 4, 0, 0])  # shares of the weight
    assert credited.known.tolist() == [True] * 5 + [False]
    assert credited.metrics["zero_variance_groups"] == 0


@settings(max_examples=200, deadline=None)
@given(experiences())
def test_gdpo_equals_slow_loops(window: Experience) -> None:
    advantages, rewards = oracle.gdpo(window)
    credited = GDPO()(window)
    expected = torch.tensor(advantages, dtype=torch.double)[:, None] * window.response_mask
    torch.testing.assert_close(credited.advantages, expected, rtol=1e-6, atol=1e-9)
    assert credited.rewards is not None
    assert credited.known is not None
    assert [*zip(credited.rewards.tolist(), credited.known.tolist(), strict=True)] == [
        (pytest.approx(reward), known) for reward, known in rewards
    ]


@settings(max_examples=60, deadline=None)
@given(experiences(), st.randoms(use_true_random=False))
def test_the_order_of_responses_means_nothing(window: Experience, random) -> None:
    order = torch.tensor(random.sample(range(len(window.group_ids)), len(window.group_ids)), dtype=torch.long)
    torch.testing.assert_close(GDPO()(window.rows(order)).advantages, GDPO()(window).advantages[order])


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_two_processes_credit_as_one_does(window: Experience) -> None:
    """Whole groups on each; one of them may be without data."""
    first = window.group_ids == 7
    parts = [window.rows(at) for at in (first, ~first)]
    found = side_by_side(GDPO(), parts)
    for at, credited in zip((first, ~first), found, strict=True):
        torch.testing.assert_close(credited.advantages, GDPO()(window).advantages[at], rtol=1e-9, atol=1e-12)


SHARES = (slice(0, 3), slice(3, 6), slice(6, 6))
"""A group each, and a process without data."""


def of_share(rank: int) -> list[list[float]]:
    part = by_hand().rows(torch.arange(6)[SHARES[rank]])
    return GDPO()(replace(part, reduce=sum_over_ranks)).advantages.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_real_processes_credit_as_one_does(processes: int) -> None:
    found = [row for share in in_group(of_share, processes) for row in share]
    torch.testing.assert_close(torch.tensor(found), GDPO()(by_hand()).advantages, rtol=1e-6, atol=0)


@pytest.mark.parametrize("met", [[[1, 1]] * 4, [[0, 0]] * 4, [[1, 0]] * 4, [[1, 0]], [[1, 0], [0, 1]]])
def test_constants_give_exactly_nothing(met: list[list[int]]) -> None:
    """All alike, a window of one response, and criteria that cancel; all groups are then without credit."""
    window = Experience.by_hand(torch.tensor(met) > 0, torch.rand(len(met), 2, 3))
    credited = GDPO()(window)
    assert credited.advantages.tolist() == [[0.0] * 3] * len(met)
    assert credited.metrics["zero_variance_groups"] == 1


def test_a_rubric_that_nobody_decided_has_no_part_in_the_window() -> None:
    window = Experience.by_hand(
        torch.tensor([[True], [False], [True]]), scorable=torch.tensor([[True], [True], [False]])
    )
    # (1, 0): z +-.70711, mean 0, sample std of the two 1: the z-score is .70711 / 1 = .70711
    assert GDPO()(window).advantages[:, 0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0], rel=1e-5)


def test_graded_values_are_compared_by_their_degree() -> None:
    window = Experience.by_hand(torch.ones(3, 1) > 0, value=torch.tensor([[0.0], [0.5], [1.0]]))
    # mean 0.5, sample std 0.5: (-1, 0, 1), of std 1
    assert GDPO()(window).advantages[:, 0].tolist() == pytest.approx([-1, 0, 1], rel=1e-5)


def test_a_value_that_is_not_finite_shows() -> None:
    """It must not pass for no difference; whoever trains names its prompts."""
    window = replace(Experience.by_hand(torch.tensor([[True], [False]])), value=torch.tensor([[torch.nan], [0.0]]))
    assert not GDPO()(window).advantages.isfinite().any()
