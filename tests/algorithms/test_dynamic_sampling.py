"""Dynamic sampling by hand, in windows without enough prompts that teach, and on two processes, simulated and real."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.algorithms import GDPO, GRPO, RTT, Algorithm, DynamicSampling, WithoutTruncated
from rtt_lightning.algorithms.dynamic_sampling import teaches
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Credited, Experience
from tests.algorithms import oracle
from tests.algorithms.together import share_of, side_by_side
from tests.experiences import experiences
from tests.processes import in_group

MET = [(1, 1), (1, 0), (0, 0), (0, 1), (1, 0)]
"""Verdicts of each prompt: the first and the third teach nothing."""


def by_hand(prompts: int = 5) -> Experience:
    met = torch.tensor(MET[:prompts]).flatten()[:, None] > 0
    return Experience.by_hand(met, torch.rand(2 * prompts, 1, 3), group_ids=torch.arange(prompts).repeat_interleave(2))


def kept(credited: Credited) -> list[int]:
    """Numbers of prompts that are trained on."""
    assert credited.trained is not None
    return credited.trained.nonzero()[:, 0].div(2, rounding_mode="floor").unique().tolist()


@pytest.mark.parametrize(("keep", "expected"), [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (9, [1, 3, 4])])
def test_the_first_prompts_that_teach_are_trained_on(keep: int, expected: list[int]) -> None:
    credited = DynamicSampling(GRPO(), keep)(by_hand())
    assert kept(credited) == expected
    plain = GRPO()(by_hand())
    assert credited.trained is not None
    assert torch.equal(credited.advantages, plain.advantages * credited.trained[:, None])
    assert torch.equal(credited.rewards, plain.rewards)  # of all that was sampled
    assert torch.equal(credited.known, plain.known)
    assert credited.metrics["zero_variance_groups"] == 2 / 5


def test_gdpo_compares_the_prompts_that_are_trained_on_alone() -> None:
    """A prompt that teaches nothing gets 0 less the window's mean, which is not 0 here, and the same for all."""
    met = torch.tensor([[1, 1], [1, 1], [1, 1], [1, 0], [0, 0], [1, 0], [0, 0]]) > 0
    scorable = torch.ones(7, 2) > 0
    scorable[3, 1] = False  # (z) beside ((z, z'), (z, z')) / 2
    window = Experience.by_hand(met, scorable=scorable, group_ids=torch.tensor([0, 0, 1, 1, 1, 2, 2]))
    whole = GDPO()(window)
    assert whole.advantages[0] == whole.advantages[1] != 0
    assert teaches(whole, window).tolist() == [False] * 2 + [True] * 5
    credited = DynamicSampling(GDPO(), 1)(window)
    assert credited.trained is not None
    assert credited.trained.tolist() == [False] * 2 + [True] * 3 + [False] * 2
    alone = GDPO()(window.rows(credited.trained))
    assert torch.equal(credited.advantages[credited.trained], alone.advantages)


def test_token_credit_teaches_too() -> None:
    """Under intra-sample credit a prompt whose responses all do well moves tokens."""
    assert kept(DynamicSampling(RTT(), 9)(by_hand())) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("algorithm", [GRPO(), RTT(), GDPO()])
@settings(max_examples=60, deadline=None)
@given(window=experiences(), keep=st.integers(1, 3))
def test_it_equals_slow_loops(algorithm: Algorithm, window: Experience, keep: int) -> None:
    found, whole = DynamicSampling(algorithm, keep)(window), algorithm(window)
    expected = torch.tensor(oracle.dynamic(window, whole.advantages.tolist(), keep), dtype=torch.bool)
    assert torch.equal(found.trained, expected)
    assert torch.equal(found.advantages[expected], algorithm(window.rows(expected)).advantages)
    assert not found.advantages[~expected].any()


def test_a_response_that_is_not_trained_on_teaches_nothing() -> None:
    window = replace(by_hand(), truncated=torch.arange(10) == 2)  # one of the second prompt
    for around in (DynamicSampling(WithoutTruncated(GRPO()), 1), WithoutTruncated(DynamicSampling(GRPO(), 1))):
        assert kept(around(window)) == [3]
    both = DynamicSampling(WithoutTruncated(RTT(alpha=0)), 2)(window)
    assert both.trained is not None
    assert both.trained.tolist() == [True, True, False, True, *[False] * 6]


def test_a_window_without_anything_that_teaches_trains_on_nothing() -> None:
    window = Experience.by_hand(torch.ones(4, 1) > 0)
    credited = DynamicSampling(GRPO(), 2)(window)
    assert kept(credited) == []
    assert not credited.advantages.any()
    nothing = DynamicSampling(GDPO(), 2)(window.rows(torch.arange(0)))
    assert nothing.advantages.shape == (0, 1)


def test_what_is_not_finite_is_kept_to_be_named() -> None:
    window = replace(by_hand(), value=torch.full((10, 1), torch.nan))
    assert kept(DynamicSampling(GRPO(), 2)(window)) == [0, 1]


def test_no_prompts_to_keep_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^keep is a number of prompts, at least 1, got 0$"):
        DynamicSampling(GRPO(), 0)


# -- on several processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [GRPO(), GDPO(), WithoutTruncated(GDPO())])
@settings(max_examples=40, deadline=None)
@given(window=experiences(), keep=st.integers(1, 4), ranks=st.integers(2, 3))
def test_processes_train_on_what_one_does(algorithm, window: Experience, keep: int, ranks: int) -> None:
    """The prompts of a window are dealt out in turn; some processes may be without."""
    window = replace(window, group_ids=window.group_ids // 7)
    around = DynamicSampling(algorithm, keep)
    one = around(window)
    found = side_by_side(around, [share_of(window, rank, ranks) for rank in range(ranks)])
    for rank, credited in enumerate(found):
        mine = window.group_ids % ranks == rank
        assert torch.equal(credited.trained, one.trained[mine])
        torch.testing.assert_close(credited.advantages, one.advantages[mine], rtol=1e-9, atol=1e-12)


def of_share(rank: int) -> tuple[list[bool], list[list[float]]]:
    share = replace(share_of(by_hand(), rank, 2), reduce=sum_over_ranks)
    credited = DynamicSampling(GDPO(), 2)(share)
    assert credited.trained is not None
    return credited.trained.tolist(), credited.advantages.tolist()


@pytest.mark.slow
def test_two_real_processes_train_on_what_one_does() -> None:
    whole = by_hand()
    one = DynamicSampling(GDPO(), 2)(whole)
    for rank, (trained, advantages) in enumerate(in_group(of_share)):
        mine = whole.group_ids % 2 == rank
        assert trained == one.trained[mine].tolist()
        torch.testing.assert_close(torch.tensor(advantages), one.advantages[mine], rtol=1e-6, atol=0)
