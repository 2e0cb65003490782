"""What must not matter to any algorithm: padding, the order of responses and criteria, and, but for schemes that
compare the window, which other prompts stand beside one. And sums that schemes promise, and windows without responses.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from rtt_lightning.algorithms import (
    GDPO,
    GRPO,
    PAPO,
    RLOO,
    RTT,
    Algorithm,
    CoRT,
    CriPO,
    DynamicSampling,
    EndToken,
    FactoredRTT,
    RubricDropout,
    WithoutTruncated,
)
from rtt_lightning.algorithms.checks import checked_credit
from rtt_lightning.functional import advantages
from rtt_lightning.functional.advantages import criterion_normalize, mix
from rtt_lightning.functional.rewards import all_or_nothing, hard_times_soft, hybrid
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import Credited, Experience
from tests.experiences import PER_CRITERION, experiences, widened

PARTITIONS = ("intra_sample", "gated_intra_sample", "inter_sample", "rubric_mean", "softmax_spread", "no_partition")
ALGORITHMS: dict[str, Algorithm] = {
    "GRPO, satisfaction rate": GRPO(),
    "GRPO, all or nothing": GRPO(all_or_nothing),
    "GRPO, hard times soft": GRPO(hard_times_soft),
    "GRPO, hybrid": GRPO(hybrid),
    "Dr. GRPO": GRPO(scale_rewards=False),
    "RLOO": RLOO(),
    **{f"RTT, {name}": RTT(partition=getattr(advantages, name)) for name in PARTITIONS},
    "RTT, mixed and clipped": RTT(combine=mix, beta=0.3, std_floor=0.1, advantage_clip=1.0),
    "factored": FactoredRTT(),
    "factored, redistributing": FactoredRTT(alpha=0, absence=0.75, cap=1.5),
    "GDPO": GDPO(),
    "PAPO": PAPO(),
    "CriPO": CriPO(),
    "CoRT": CoRT(rise=0),
    "rubric dropout": RubricDropout(RTT()),
    "end token": EndToken(FactoredRTT()),
    "without truncated": WithoutTruncated(GDPO()),
    "dynamic sampling": DynamicSampling(WithoutTruncated(GRPO()), 1),
}
WINDOW = {"GDPO", "without truncated", "dynamic sampling"}
"""They compare the prompts of a window."""
PLACES = {"rubric dropout"}
"""Draws places of criteria."""


def contrasted(window: Experience) -> Experience:
    """With a contrast, where there is relevance to three quarters of the criteria or so."""
    contrast = window.relevance.sum(1) - 1
    contrast[window.truncated] = torch.nan
    return replace(window, contrast=contrast)


def close(found: Credited, expected: Credited, at: Callable[[Tensor], Tensor]) -> None:
    """Whether ``found`` is ``at`` of what is expected."""
    for name in ("advantages", "rewards", "known", "trained"):
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, None if other is None else at(other), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ALGORITHMS)
@settings(max_examples=12, deadline=None)
@given(window=experiences())
def test_what_must_not_matter_does_not(name: str, window: Experience) -> None:
    algorithm, window = ALGORITHMS[name], contrasted(window)
    credited, (rows, tokens) = algorithm(window), window.response_mask.shape
    generator = torch.Generator().manual_seed(rows)
    padded = algorithm(widened(window, criteria=2, tokens=3))
    assert not padded.advantages[:, tokens:].any()
    close(replace(padded, advantages=padded.advantages[:, :tokens]), credited, lambda values: values)
    order = torch.randperm(rows, generator=generator)
    close(algorithm(window.rows(order)), credited, lambda values: values[order])
    if name not in PLACES:
        places = torch.randperm(window.weights.shape[1], generator=generator)
        moved = {part: getattr(window, part)[:, places] for part in (*PER_CRITERION, "relevance")}
        close(algorithm(replace(window, **moved)), credited, lambda values: values)
    if name not in WINDOW:
        for group in window.group_ids.unique():
            mine = window.group_ids == group
            close(algorithm(window.rows(mine)), credited, lambda values, mine=mine: values[mine])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_process_without_prompts_has_credit_for_no_response(name: str) -> None:
    nothing = collate([], [])
    credited = checked_credit(ALGORITHMS[name](nothing), nothing, name)
    assert credited.advantages.shape == nothing.response_mask.shape
    assert not len(credited.advantages)


def scores_times_length(window: Experience) -> Tensor:
    return criterion_normalize(window, graded=False).sum(1) / window.scorable.sum(1).clamp(min=1) * length(window)


def length(window: Experience) -> Tensor:
    return window.answer_mask.sum(1)


@pytest.mark.parametrize(
    ("algorithm", "total"),
    [
        (RTT(alpha=0), lambda window: 0 * length(window)),
        (RTT(alpha=0, partition=advantages.gated_intra_sample), lambda window: 0 * length(window)),
        (FactoredRTT(alpha=0), scores_times_length),
        (CoRT(rise=0), lambda window: GRPO()(window).advantages.sum(1)),
        (EndToken(RTT(alpha=0)), lambda window: 0 * length(window)),
    ],
    ids=["intra", "gated", "factored", "CoRT", "end token"],
)
@settings(max_examples=20, deadline=None)
@given(window=experiences())
def test_sums_over_a_response(algorithm: Algorithm, total, window: Experience) -> None:
    window = contrasted(window)
    found = algorithm(window).advantages.sum(1).double()
    torch.testing.assert_close(found, total(window).double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name[:2] in ("GR", "Dr", "RL", "GD", "PA")])
@settings(max_examples=12, deadline=None)
@given(window=experiences())
def test_response_level_credit_of_a_group_sums_to_nothing(name: str, window: Experience) -> None:
    """GDPO's that of the window."""
    window = replace(window, response_mask=torch.ones_like(window.response_mask))
    if name == "GDPO":
        window = replace(window, group_ids=torch.zeros_like(window.group_ids))
    found = ALGORITHMS[name](window).advantages[:, 0].double()
    for group in window.group_ids.unique():
        assert found[window.group_ids == group].sum().abs() < 1e-5
