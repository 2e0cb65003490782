"""Factored RTT by hand, against slow loops, and what it promises: identities with GRPO, GDPO and its own sums."""

from dataclasses import replace
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.advantages import make_experience, plain_factored
from rtt_lightning.algorithms import GRPO, FactoredRTT
from rtt_lightning.functional import cells
from rtt_lightning.functional.advantages import criterion_normalize
from rtt_lightning.functional.factored import factored
from rtt_lightning.functional.spread import saturated_cells
from rtt_lightning.types import Experience
from tests.algorithms import oracle
from tests.experiences import experiences
from tests.functional.oracle import by_row, group_normalize, mean_desired


def by_hand() -> Experience:
    """Two responses of four tokens, the last one an end token; three criteria, of which both meet the last."""
    p = [[1.0, 0.5, 0.0, 0.9], [0.2, 0.0, 0.1, 0.9], [1.0, 0.0, 0.0, 0.9]]
    return Experience.by_hand(
        torch.tensor([[True, False, True], [False, False, True]]),
        torch.tensor([p, p]),
        weights=torch.tensor([[1.0, -1.0, 1.0]] * 2),
        scorable=torch.tensor([[True, True, True], [True, False, True]]),
        answer_mask=torch.tensor([[True, True, True, False]] * 2),
        response_mask=torch.ones(2, 4) > 0,
    )


def test_factored_by_hand() -> None:
    # Response level: (1, .5), +-.70711 on all four tokens.
    # Z of the first criterion: (1, 0), +-.70711; of the second: one alone was decided, 0; of the third: both alike, 0.
    # w of the first: (1, .5, 0) / .5 = (2, 1, 0). Mean over three criteria: .70711 (2, 1, 0) / 3, over two: .. / 2.
    a = 0.5**0.5
    credited = FactoredRTT()(by_hand())
    expected = torch.tensor([[a + 2 * a / 3, a + a / 3, a, a], [-a - a, -a - a / 2, -a, -a]])
    torch.testing.assert_close(credited.advantages, expected, atol=1e-5, rtol=0)
    assert credited.rewards is not None
    assert credited.rewards.tolist() == [1, 0.5]
    assert credited.metrics["live_cells"] == pytest.approx(4 / 5)  # nothing is relevant to the second one (.2, 0, .1)
    assert saturated_cells(by_hand()).sum() == 3


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (FactoredRTT(alpha=0), [[2 / 3, 1 / 3, 0, 0], [-1, -1 / 2, 0, 0]]),
        (FactoredRTT(alpha=0, beta=0.5), [[1 / 3, 1 / 6, 0, 0], [-1 / 2, -1 / 4, 0, 0]]),
        (FactoredRTT(alpha=0, cap=1.5), [[1 / 2, 1 / 3, 0, 0], [-3 / 4, -1 / 2, 0, 0]]),  # w (1.5, 1, 0)
        (FactoredRTT(alpha=0, cap=1.0), [[1 / 3, 1 / 3, 0, 0], [-1 / 2, -1 / 2, 0, 0]]),
        # No token reaches 1.1, so the whole answer is to blame.
        (FactoredRTT(alpha=0, absence=1.1), [[1 / 3, 1 / 3, 1 / 3, 0], [-1 / 2, -1 / 2, -1 / 2, 0]]),
        (FactoredRTT(alpha=0, absence=1.0), [[2 / 3, 1 / 3, 0, 0], [-1, -1 / 2, 0, 0]]),  # one token is 1
        (FactoredRTT(beta=0), [[1] * 4, [-1] * 4]),
    ],
)
def test_each_option_by_hand(algorithm: FactoredRTT, expected: list[list[float]]) -> None:
    found = algorithm(by_hand()).advantages
    torch.testing.assert_close(found, 0.5**0.5 * torch.tensor(expected), atol=1e-5, rtol=0)


def test_without_division_by_the_spread_both_levels_are_so() -> None:
    # Rewards less their mean +-.25, verdicts on the first criterion +-.5: .25 + .5 (2, 1, 0) / 3; -.25 - .5 (..) / 2.
    found = FactoredRTT(scale_rewards=False)(by_hand()).advantages
    expected = torch.tensor([[0.25 + 1 / 3, 0.25 + 1 / 6, 0.25, 0.25], [-0.75, -0.5, -0.25, -0.25]])
    torch.testing.assert_close(found, expected)


def test_a_cap_below_the_mean_of_the_weights_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"^cap bounds weights whose mean is 1, so it must be at least 1, got 0\.5; nul"
    ):
        FactoredRTT(cap=0.5)
    assert (FactoredRTT().smallest_group, FactoredRTT().token_credit, FactoredRTT(beta=0).token_credit) == (
        2,
        True,
        False,
    )


@pytest.mark.parametrize("cap", [None, 1.0, 1.5])
@pytest.mark.parametrize("absence", [0.0, 0.25, 0.75])
@settings(max_examples=40, deadline=None)
@given(window=experiences(), scale=st.booleans())
def test_factored_equals_slow_loops(window: Experience, absence: float, cap: float | None, scale: bool) -> None:
    """In blocks of one row as well."""
    token = oracle.factored(window, absence, cap, scale)
    rewards = by_row(window, mean_desired)
    known = [r for r, _ in rewards], [k for _, k in rewards]
    response = group_normalize(*known, window.group_ids.tolist(), scale)
    expected = oracle.at_tokens(window, [2 * a for a in response], [[0.5 * t for t in row] for row in token])
    for block in (1, cells.BLOCK):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cells, "BLOCK", block)
            credited = FactoredRTT(scale_rewards=scale, alpha=2.0, beta=0.5, absence=absence, cap=cap)(window)
            found = credited.advantages.double()
            torch.testing.assert_close(
                found, torch.tensor(expected).double().reshape(found.shape), rtol=1e-6, atol=1e-6
            )


# -- identities ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_its_sum_over_an_answer_is_the_number_of_tokens_times_the_mean_score(window: Experience) -> None:
    scores = criterion_normalize(window, graded=False)
    token, _ = factored(window, scores)
    mean = scores.sum(1) / window.scorable.sum(1).clamp(min=1)
    torch.testing.assert_close(token.sum(1), mean * window.answer_mask.sum(1), atol=1e-7, rtol=1e-6)
    assert (token[~window.answer_mask] == 0).all()
    assert (factored(window, scores, cap=1.25)[0].abs().sum() <= token.abs().sum() + 1e-9) or token.numel() == 0


@settings(max_examples=60, deadline=None)
@given(experiences(graded=False), st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_uniform_relevance_gives_the_mean_of_the_scores(window: Experience, p: float) -> None:
    """To the last bit, also where p is no round number; before its last step GDPO's, for weights of one size."""
    for dtype in (torch.float, torch.double):
        uniform = replace(window, relevance=torch.full_like(window.relevance, p, dtype=dtype))
        scores = criterion_normalize(uniform, graded=False)
        token, live = factored(uniform, scores)
        mean = (scores.double() * (1 / uniform.scorable.sum(1, keepdim=True).clamp(min=1))).sum(1, keepdim=True)
        assert torch.equal(token, (mean * uniform.answer_mask).to(dtype))
        assert not live.any()
        assert torch.equal(scores, criterion_normalize(uniform))  # GDPO's, of desired values


@settings(max_examples=60, deadline=None)
@given(experiences(graded=False), st.sampled_from([0.5, 1.0]))
def test_of_one_criterion_it_scales_the_response_level(window: Experience, beta: float) -> None:
    one = replace(
        window,
        **{
            name: getattr(window, name)[:, :1] for name in ("weights", "met", "scorable", "value", "confidence", "hard")
        },
        relevance=window.relevance[:, :1],
    )
    response = GRPO()(one).advantages
    weights, _ = factored(one, one.scorable.double())  # Z = 1
    torch.testing.assert_close(
        FactoredRTT(beta=beta)(one).advantages, response * (1 + beta * weights), rtol=1e-6, atol=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_where_the_group_agrees_nothing_is_earned(window: Experience) -> None:
    """And all cells are then saturated."""
    agreed = replace(window, met=window.weights > 0)
    credited = FactoredRTT(alpha=0)(agreed)
    assert not credited.advantages.any()
    assert torch.equal(saturated_cells(agreed), agreed.scorable)


# -- numbers -------------------------------------------------------------------------------------------------------


def test_nearly_constant_relevance_loses_nothing_by_rounding() -> None:
    window = make_experience(24, 3, 600)
    noise = torch.randn(window.relevance.shape, generator=torch.Generator().manual_seed(1))
    window = replace(window, relevance=0.7 + 1e-4 * noise)
    scores = criterion_normalize(window, graded=False)
    for cap in (inf, 1.0001):
        expected = plain_factored(replace(window, relevance=window.relevance.double()), scores, cap=cap)
        found, _ = factored(window, scores, cap=None if cap == inf else cap)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_read_leaves_no_trace(bad: float) -> None:
    window = make_experience(16, 4, 50)
    read, scores = window.answer_mask[:, None] & window.scorable[..., None], criterion_normalize(window, graded=False)
    spoilt = replace(window, relevance=torch.where(read, window.relevance, bad))
    for found, expected in zip(factored(spoilt, scores, cap=2.0), factored(window, scores, cap=2.0), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype: torch.dtype) -> None:
    window = make_experience(16, 4, 50)
    half, scores = replace(window, relevance=window.relevance.to(dtype)), criterion_normalize(window, graded=False)
    found, _ = factored(half, scores)
    assert torch.equal(found, factored(replace(half, relevance=half.relevance.float()), scores)[0])


def test_nothing_waits_for_a_device() -> None:
    window = make_experience(16, 4, 50)
    tensors = {name: part.to("meta") for name, part in vars(window).items() if isinstance(part, torch.Tensor)}
    without = replace(window, **tensors)
    factored(without, criterion_normalize(without, graded=False), cap=2.0)


def test_a_process_without_responses_has_no_credit() -> None:
    assert FactoredRTT()(make_experience(8, 2, 3).rows(torch.arange(0))).advantages.shape == (0, 3)
