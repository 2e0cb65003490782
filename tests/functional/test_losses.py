"""Losses by hand, and the token mean over any split into micro-batches."""

from math import exp, expm1, log, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.losses import (
    adapted_coefficient,
    clipped_surrogate,
    importance_weights,
    kl_k1,
    kl_k2,
    kl_k3,
    sequence_ratio,
    sequence_token_ratio,
    token_mean,
    token_ratio,
)
from tests.functional.oracle import decoupled

LOGPROBS = st.floats(-6, 0)


def test_the_surrogate_clips_each_side_on_its_own() -> None:
    ratios = torch.tensor([[1.5, 0.5, 1.5, 0.5, 1.1]])
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, 1.0]])
    loss, clipped = clipped_surrogate(ratios.log(), advantages, 0.2, 0.3)
    # min(1.5, 1.3), min(0.5, 0.8), min(-1.5, -1.3), min(-0.5, -0.8), 1.1
    assert (-loss)[0].tolist() == pytest.approx([1.3, 0.5, -1.5, -0.8, 1.1])
    assert clipped.tolist() == [[True, False, False, True, False]]


def test_clipped_tokens_have_no_gradient_and_a_ratio_of_one_has_that_of_the_log_prob() -> None:
    logprobs = torch.tensor([[log(1.5), 0.0]], requires_grad=True)
    loss, _ = clipped_surrogate(logprobs, torch.tensor([[1.0, -2.0]]), 0.2, 0.2)
    loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[0.0, 2.0]]


def test_dual_clip_bounds_the_loss_of_a_negative_advantage_and_holds_back_its_gradient() -> None:
    logprobs = torch.tensor([[0.5, 1.5, 4.0, 4.0, 1.5]]).log().requires_grad_()
    advantages = torch.tensor([[-1.0, -1.0, -1.0, 2.0, -2.0]])
    loss, clipped = clipped_surrogate(logprobs, advantages, 0.2, 0.2, dual_clip=3.0)
    # A < 0: max(min(-0.5, -0.8), -3), max(-1.5, -3), max(-4, -3); A > 0: min(8, 2.4); max(-3, -6)
    assert (-loss)[0].tolist() == pytest.approx([-0.8, -1.5, -3.0, 2.4, -3.0])
    assert clipped.tolist() == [[True, False, True, True, False]]
    loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0].tolist() == pytest.approx([0, 1.5, 0, 0, 3.0])  # -A rho where nothing holds back


@given(
    rows=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=9),
    dual=st.sampled_from([None, 1.5, 3.0]),
)
def test_the_surrogate_is_that_of_its_formula(rows: list[tuple[float, float]], dual: float | None) -> None:
    log_ratio, advantages = torch.tensor(rows, dtype=torch.float64).T[:, None]
    loss, _ = clipped_surrogate(log_ratio, advantages, 0.2, 0.3, dual)
    for found, (each, advantage) in zip(loss[0].tolist(), rows, strict=True):
        least = min(exp(each) * advantage, max(0.8, min(exp(each), 1.3)) * advantage)
        expected = max(least, dual * advantage) if dual and advantage < 0 else least
        assert -found == pytest.approx(expected, rel=1e-12)


# Two responses, of 3 tokens and of 1; what is behind the mask is not to be seen.
NEW = torch.tensor([[-1.0, -2.0, -0.3, nan], [-0.5, nan, nan, nan]])
OLD = torch.tensor([[-1.3, -2.3, -0.6, 0.0], [-0.5, 0.0, 0.0, 0.0]])
MASK = ~NEW.isnan()


def test_a_ratio_of_a_response_is_the_geometric_mean_of_its_tokens_and_the_same_for_all() -> None:
    drawn = OLD + torch.tensor([[0.6, -0.3, 0.0, 5.0], [0.2, 0.0, 0.0, 0.0]])
    for ratio in (sequence_ratio, sequence_token_ratio):
        found = ratio(drawn, OLD, MASK)
        assert found[0, :3].tolist() == pytest.approx([0.1] * 3)  # (0.6 - 0.3 + 0) / 3
        assert found[1, 0].item() == pytest.approx(0.2)
        assert not ratio(NEW, OLD, MASK)[MASK].isnan().any()
        assert ratio(NEW[:0], OLD[:0], MASK[:0]).shape == (0, 4)
        assert (ratio(OLD, OLD, MASK & False) == 0).all()  # a response without tokens
    assert token_ratio(drawn, OLD, MASK)[0, :3].tolist() == pytest.approx([0.6, -0.3, 0.0])


def gradient(ratio, advantages: torch.Tensor, clip: float = 10.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the summed surrogate, and its value per response; s is exp(0.3) for the first response, 1 for the other."""
    logprobs = NEW.nan_to_num().requires_grad_()
    loss, _ = clipped_surrogate(ratio(logprobs, OLD, MASK), advantages, clip, clip)
    torch.where(MASK, loss, 0.0).sum().backward()
    assert logprobs.grad is not None
    return logprobs.grad, torch.where(MASK, loss, 0.0).sum(1).detach()


def test_gspo_moves_a_response_by_its_mean_advantage_and_gspo_token_each_token_by_its_own() -> None:
    credit = torch.tensor([[3.0, -1.0, 1.0, 0.0], [-2.0, 0.0, 0.0, 0.0]])
    found, _ = gradient(sequence_ratio, credit)
    # s (3 - 1 + 1) / 3 = s at each of the three tokens, s = exp(0.3); nothing behind the mask
    assert (-found).tolist() == [pytest.approx([exp(0.3)] * 3 + [0]), pytest.approx([-2, 0, 0, 0])]
    found, _ = gradient(sequence_token_ratio, credit)
    assert (-found).tolist() == [pytest.approx([exp(0.3) * a for a in (3, -1, 1, 0)]), pytest.approx([-2, 0, 0, 0])]


def test_credit_that_sums_to_zero_cancels_under_gspo_and_stays_under_gspo_token() -> None:
    credit = torch.tensor([[2.0, -1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert gradient(sequence_ratio, credit)[0].abs().max() < 1e-6
    assert gradient(sequence_token_ratio, credit)[0][0, 0].item() == pytest.approx(-2 * exp(0.3))


@pytest.mark.parametrize("clip", [10.0, 0.2])
def test_both_are_the_same_where_a_response_has_one_advantage(clip: float) -> None:
    credit = torch.tensor([[1.5], [-0.5]]).expand(2, 4)
    one, other = (gradient(ratio, credit, clip) for ratio in (sequence_ratio, sequence_token_ratio))
    for mine, its in zip(one, other, strict=True):
        torch.testing.assert_close(mine, its)
    assert bool(one[0][0].any()) == (clip > 1)  # exp(0.3) is above 1.2: all three tokens are clipped together


def test_the_weight_of_the_kl_follows_its_target() -> None:
    # 0.5 (1 + 0.1 x 0.1); the error is cut at 0.2 on both sides; at the target nothing changes, nor without a number
    assert adapted_coefficient(0.5, 8.8, target=8, gain=0.1, least=0.1) == pytest.approx(0.505)
    assert adapted_coefficient(0.5, 80, target=8, gain=0.1, least=0.1) == pytest.approx(0.51)
    assert adapted_coefficient(0.5, 0, target=8, gain=1, least=0.1) == pytest.approx(0.4)
    assert adapted_coefficient(0.11, 0, target=8, gain=1, least=0.1) == 0.1
    assert adapted_coefficient(0.5, 8, target=8, gain=1, least=0.1) == adapted_coefficient(0.5, nan, 8, 1, 0.1) == 0.5


def test_importance_weights_by_hand() -> None:
    old = torch.tensor([[log(0.3), log(0.1), log(0.8), log(0.8), -50.0, 0.0]])
    sampler = torch.tensor([[log(0.2), log(0.2), log(0.4), log(0.1), 0.0, -1e4]])
    weights, capped = importance_weights(old, sampler, cap=2.0)
    # 0.3 / 0.2, 0.1 / 0.2, 0.8 / 0.4: not beyond the cap, 0.8 / 0.1 = 8, e^-50, an infinite ratio
    assert weights[0].tolist() == pytest.approx([1.5, 0.5, 2.0, 2.0, exp(-50), 2.0])
    assert capped.tolist() == [[False, False, False, True, False, True]]
    assert importance_weights(torch.zeros(1, 1), torch.tensor([[nan]]), 2.0)[0].isnan()  # unknown is not 1


@given(rows=st.lists(st.tuples(LOGPROBS, LOGPROBS, LOGPROBS, st.floats(-3, 3)), min_size=1, max_size=9))
def test_the_weighted_surrogate_is_that_of_a_loop(rows: list[tuple[float, float, float, float]]) -> None:
    new, old, sampler, advantages = torch.tensor(rows, dtype=torch.float64).T[:, None]
    loss, _ = clipped_surrogate(token_ratio(new, old, new > 0), advantages, 0.2, 0.3)
    weights, _ = importance_weights(old, sampler, cap=1.5)
    assert (loss * weights)[0].tolist() == pytest.approx([decoupled(*row, 0.2, 0.3, 1.5) for row in rows])


def test_without_the_cap_the_weights_turn_the_sampler_s_mean_into_the_policy_s() -> None:
    policy, sampler = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.3, 0.3, 0.4]])
    values = torch.tensor([[1.0, -2.0, 5.0]])
    weights, _ = importance_weights(policy.log(), sampler.log(), cap=100.0)
    assert (sampler * weights * values).sum().item() == pytest.approx((policy * values).sum().item())


def test_importance_weights_have_no_gradient_and_scale_that_of_the_log_prob() -> None:
    logprobs = torch.tensor([[log(0.5), log(0.5)]], requires_grad=True)
    weights, _ = importance_weights(logprobs, torch.tensor([[log(0.4), log(0.1)]]), cap=2.0)
    assert not weights.requires_grad
    loss, _ = clipped_surrogate(logprobs - logprobs.detach(), torch.tensor([[1.0, -3.0]]), 0.2, 0.2)
    (loss * weights).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0].tolist() == pytest.approx([-1.25, 6.0])  # -1 x 0.5 / 0.4, 3 x 2


def test_kl_estimators_by_hand() -> None:
    pi, ref = torch.tensor([[-1.0]]), torch.tensor([[-1.5]])
    assert kl_k1(pi, ref).item() == 0.5
    assert kl_k2(pi, ref).item() == 0.125
    assert kl_k3(pi, ref).item() == pytest.approx(exp(-0.5) - 1 + 0.5)


def test_k3_is_the_kl_in_expectation() -> None:
    p, q = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.5, 0.25, 0.25]])
    exact = (p * (p / q).log()).sum()
    assert (p * kl_k3(p.log(), q.log())).sum().item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_k3_is_exact_with_its_gradient_as_far_as_numbers_go_and_finite_beyond(dtype: torch.dtype) -> None:
    largest = log(torch.finfo(dtype).max)
    ratios = [-1e4, -3.0, 0.0, 0.1, 5.0, 0.99 * largest, largest + 1, 1e3, 1e6]
    logprobs = -torch.tensor(ratios, dtype=dtype, requires_grad=True)
    logprobs.retain_grad()
    [value] = kl_k3(logprobs[None], torch.zeros(1, len(ratios), dtype=dtype))
    value.sum().backward()
    assert logprobs.grad is not None
    exact = [expm1(r) - r for r in ratios[:6]]
    slopes = [-expm1(r) for r in ratios[:6]]  # d/dlogp of exp(-logp) - 1 + logp
    assert value[:6].tolist() == pytest.approx(exact, rel=1e-5)
    assert logprobs.grad[:6].tolist() == pytest.approx(slopes, rel=1e-5)
    assert value.isfinite().all()
    assert (value[6:] >= value[5]).all()
    assert logprobs.grad.isfinite().all()
    assert (logprobs.grad[6:] <= logprobs.grad[5]).all()  # a step down the gradient still raises log pi


def test_k3_of_a_log_prob_that_is_not_finite_is_not_finite() -> None:
    assert not kl_k3(torch.tensor([[torch.nan, -torch.inf]]), torch.zeros(1, 2)).isfinite().any()


@pytest.mark.parametrize("sizes", [[6], [2, 4], [1, 0, 5], [1, 1, 1, 1, 1, 1]])
def test_the_token_mean_is_the_same_for_every_split(sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values, mask = torch.randn(6, 5, generator=generator), torch.rand(6, 5, generator=generator) > 0.4
    total, done = 0.0, 0
    for size in sizes:
        rows = slice(done, done + size)
        done += size
        share = token_mean(values[rows], mask[rows], mask.sum(), len(sizes), ranks=2)
        total += share.item() / len(sizes) / 2  # what Lightning and two ranks divide by
    assert total == pytest.approx(values[mask].mean().item(), rel=1e-5)


def test_what_is_masked_reaches_neither_value_nor_gradient() -> None:
    values = torch.tensor([[1.0, float("nan"), float("inf")]], requires_grad=True)
    loss = token_mean(values, torch.tensor([[True, False, False]]), 1, 1, 1)
    loss.backward()
    assert loss == 1
    assert values.grad is not None
    assert values.grad.tolist() == [[1, 0, 0]]


def test_an_empty_micro_batch_gives_zero_with_a_graph() -> None:
    values = torch.zeros(0, 4, requires_grad=True)
    loss = token_mean(values, torch.zeros(0, 4, dtype=torch.bool), 7, 2, 1)
    loss.backward()
    assert loss == 0
