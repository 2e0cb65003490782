"""RTT by hand, against slow loops, and where it becomes GRPO."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.algorithms import GRPO, RTT
from rtt_lightning.functional.advantages import (
    Partition,
    gated_intra_sample,
    inter_sample,
    intra_sample,
    mix,
    no_partition,
    rubric_mean,
    softmax_spread,
)
from rtt_lightning.functional.rewards import all_or_nothing
from rtt_lightning.types import Experience
from tests.experiences import experiences
from tests.functional import oracle


def by_hand() -> Experience:
    """Two responses of three tokens, of which the last is an end token; two criteria, the second one unwanted."""
    return Experience.by_hand(
        torch.tensor([[True, False], [False, False]]),
        torch.tensor([[[1.0, 0.0, 0.9], [0.5, 0.5, 0.9]], [[1.0, 0.0, 0.9], [0.0, 1.0, 0.9]]]),
        weights=torch.tensor([[1.0, -1.0], [1.0, -1.0]]),
        answer_mask=torch.tensor([[True, True, False]] * 2),
        response_mask=torch.ones(2, 3) > 0,
    )


def test_rtt_by_hand() -> None:
    # Response level: (1, .5), mean .75, sample std .35355: +-.70711, on all three tokens.
    # Token level: z of (1, 0) is (1, -1), of (.5, .5) 0, so (1, -1) / 2 in the first response;
    #   in the second -(1, -1) and (-1, 1): (-1, 1). With beta .5: +-.25 and -+.5.
    a = 0.5**0.5
    credited = RTT()(by_hand())
    expected = torch.tensor([[a + 0.25, a - 0.25, a], [-a - 0.5, -a + 0.5, -a]])
    torch.testing.assert_close(credited.advantages, expected, atol=1e-5, rtol=0)
    assert credited.rewards is not None
    assert credited.rewards.tolist() == [1, 0.5]
    assert credited.metrics["live_cells"] == 3 / 4
    assert credited.metrics["zero_variance_groups"] == 0


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (RTT(alpha=0, beta=1.0), [[0.5, -0.5, 0], [-1, 1, 0]]),
        (RTT(alpha=0, beta=1.0, advantage_clip=0.75), [[0.5, -0.5, 0], [-0.75, 0.75, 0]]),
        (RTT(alpha=0, beta=1.0, std_floor=0.5), [[0.0] * 3] * 2),  # the spread of (1, 0) is 0.5
        (RTT(combine=mix, beta=1.0), [[0.5, -0.5, 0], [-1, 1, 0]]),
        (RTT(scale_rewards=False, beta=0), [[0.25] * 3, [-0.25] * 3]),  # less the mean, .75
        (RTT(partition=no_partition, alpha=0, beta=1.0), [[0.75, 0.25, 0], [-0.5, 0.5, 0]]),
    ],
)
def test_each_option_by_hand(algorithm: RTT, expected: list[list[float]]) -> None:
    torch.testing.assert_close(algorithm(by_hand()).advantages, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "partition", [intra_sample, gated_intra_sample, inter_sample, rubric_mean, softmax_spread, no_partition]
)
def test_a_group_of_one_is_enough_if_it_earns_token_credit(partition: Partition) -> None:
    alone = Experience.by_hand(torch.tensor([[True, False]]), torch.tensor([[[1.0, 0.0], [0.2, 0.8]]]))
    token = RTT(alpha=0, partition=partition)
    assert token.smallest_group == (1 if token(alone).advantages.any() else 2)


def test_what_it_reads_and_needs_follows_from_its_weights() -> None:
    assert (RTT().smallest_group, RTT().token_credit) == (2, True)
    assert RTT(alpha=0).smallest_group == 1
    assert not RTT(beta=0).token_credit
    assert (GRPO().smallest_group, GRPO().token_credit) == (2, False)


@settings(max_examples=60, deadline=None)
@given(
    experiences(),
    st.sampled_from([(intra_sample, lambda i, j: i == j), (inter_sample, lambda i, j: True)]),
    st.sampled_from([None, 0.5]),
)
def test_rtt_equals_slow_loops(window: Experience, partition, clip: float | None) -> None:
    rewards = oracle.by_row(window, oracle.all_or_nothing)
    response = oracle.group_normalize(*zip(*rewards, strict=True), window.group_ids.tolist()) if rewards else []
    token = oracle.token_advantages(window, partition[1])
    bound = float("inf") if clip is None else clip
    expected = [
        [2 * a * inside + 0.25 * max(-bound, min(bound, t)) for t, inside in zip(row, mask, strict=True)]
        for a, row, mask in zip(response, token, window.response_mask.tolist(), strict=True)
    ]
    algorithm = RTT(all_or_nothing, partition=partition[0], alpha=2.0, beta=0.25, advantage_clip=clip)
    found = algorithm(window).advantages
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.double).reshape(found.shape), atol=2e-6, rtol=1e-5
    )


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_uniform_relevance_makes_it_grpo(window: Experience) -> None:
    uniform = replace(window, relevance=torch.full_like(window.relevance, 0.1))
    credited = RTT(beta=2.0)(uniform)
    assert torch.equal(credited.advantages, GRPO()(window).advantages)
    assert credited.metrics["live_cells"] == 0


def test_a_response_alone_earns_token_credit_and_no_other() -> None:
    window = Experience.by_hand(torch.tensor([[True]]), torch.tensor([[[1.0, 0.0]]]))
    assert RTT()(window).advantages[0].tolist() == pytest.approx([0.5, -0.5], abs=1e-5)


class FirstToken(RTT):
    """Token-level credit of the first token alone."""

    def token_level(self, experience: Experience) -> tuple[torch.Tensor, torch.Tensor]:
        token, live = super().token_level(experience)
        return token * torch.eye(1, token.shape[1]), live


def test_a_variant_says_what_the_token_level_is() -> None:
    window = by_hand()
    usual, first = RTT()(window), FirstToken()(window)
    response = GRPO()(window).advantages
    assert torch.equal(first.advantages[:, 0], usual.advantages[:, 0])
    assert not torch.equal(usual.advantages[:, 1], response[:, 1])
    assert torch.equal(first.advantages[:, 1:], response[:, 1:])
    assert first.metrics == usual.metrics
