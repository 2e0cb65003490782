"""Rubric dropout: which criteria take part, and that credit is that of a rubric of these alone."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.algorithms import GDPO, GRPO, RTT, RubricDropout
from rtt_lightning.functional.rewards import weighted_mean
from rtt_lightning.types import Experience
from tests.algorithms.together import share_of
from tests.experiences import PER_CRITERION, experiences


def window(groups: int = 3, criteria: int = 5, **more) -> Experience:
    met = torch.rand(4 * groups, criteria, generator=torch.Generator().manual_seed(0)) > 0.5
    relevance = torch.rand(*met.shape, 6, generator=torch.Generator().manual_seed(1))
    return Experience.by_hand(met, relevance, group_ids=torch.arange(groups).repeat_interleave(4), **more)


def test_credit_is_that_of_a_rubric_of_the_criteria_left() -> None:
    one = window(1)
    dropout = RubricDropout(RTT(), share=0.4)
    left = dropout.left(one)[0]
    assert left.sum() == 3  # of five
    alone = {name: getattr(one, name)[:, left] for name in (*PER_CRITERION, "relevance")}
    found, expected = dropout(one), RTT()(replace(one, **alone))
    torch.testing.assert_close(found.advantages, expected.advantages)
    assert found.rewards is not None
    assert expected.rewards is not None
    assert torch.equal(found.rewards, expected.rewards)
    assert found.metrics["live_cells"] == expected.metrics["live_cells"]


@pytest.mark.parametrize(
    ("share", "criteria", "left"), [(0.4, 1, 1), (0.4, 2, 1), (0.4, 7, 4), (0.5, 3, 1), (0.9, 3, 1), (0.0, 3, 3)]
)
def test_how_many_are_left(share: float, criteria: int, left: int) -> None:
    """K - round(share K), at least 1; 1.5 rounds to 2, half to even."""
    found = RubricDropout(GRPO(), share).left(window(20, criteria))
    assert (found.sum(1) == left).all()


def test_it_is_the_same_for_a_group_and_drawn_anew_for_each_window_prompt_and_seed() -> None:
    many, dropout = window(200), RubricDropout(GRPO())
    found = dropout.left(many)
    assert torch.equal(found, dropout.left(many))
    assert all(len(found[many.group_ids == group].unique(dim=0)) == 1 for group in range(200))
    assert all(150 > (found[::4, k].sum()) > 90 for k in range(5))  # each is left in 3 of 5 of the groups
    for other in (RubricDropout(GRPO(), seed=1).left(many), dropout.left(replace(many, version=1))):
        assert 0.05 < (found == other).all(1).float().mean() < 0.2  # one draw of ten is the same by chance


def test_several_processes_drop_what_one_does() -> None:
    whole = window(6)
    found = RubricDropout(GRPO()).left(whole)
    for rank in range(2):
        share = replace(share_of(whole, rank, 2), reduce=lambda values: 2 * values)  # of two alike
        assert torch.equal(RubricDropout(GRPO()).left(share), found[whole.group_ids % 2 == rank])


def test_a_wanted_criterion_is_always_left_so_that_rewards_stay_defined() -> None:
    weights = torch.tensor([[-1.0, 1.0, -1.0, -1.0, 0.0]]).expand(400, 5)
    one_wanted = window(100, weights=weights)
    left = RubricDropout(GRPO(), 0.7).left(one_wanted)
    assert left[:, 1].all()
    assert not left[:, 4].any()
    assert (left.sum(1) == 1).all()
    RubricDropout(GRPO(weighted_mean), 0.7)(one_wanted)
    unwanted = RubricDropout(GRPO(), 0.7).left(replace(one_wanted, weights=-weights.abs()))
    assert Counter(unwanted[::4].int().argmax(1).tolist()).keys() == {0, 1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(experiences(), st.integers(0, 9), st.sampled_from([0.0, 0.4, 0.8]))
def test_nothing_but_rewards_depends_on_it(experience: Experience, seed: int, share: float) -> None:
    left = RubricDropout(GRPO(), share, seed).left(experience)
    assert not (left & ~experience.exists).any()
    credited = RubricDropout(GDPO(), share, seed)(experience)
    assert credited.advantages.isfinite().all()
    if not share:
        assert torch.equal(credited.advantages, GDPO()(experience).advantages)


def test_it_needs_and_reads_what_its_algorithm_does() -> None:
    assert (RubricDropout(RTT(alpha=0)).smallest_group, RubricDropout(RTT()).token_credit) == (1, True)
    assert (RubricDropout(GRPO()).smallest_group, RubricDropout(GRPO()).token_credit) == (2, False)
    with pytest.raises(ValueError, match=r"^share is that of the criteria to drop, in \[0, 1\), got 1\.0$"):
        RubricDropout(GRPO(), share=1.0)
