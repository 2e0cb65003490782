"""Per-token losses and their aggregation."""

from collections.abc import Callable
from math import inf, isfinite, log
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rtt_lightning.types.axes import Bool, Float

PerToken = Float[Tensor, "batch token"]
Mask = Bool[Tensor, "batch token"]
Distance = Callable[[Tensor, Tensor], Any]
"""(logprobs, reference) -> KL [batch token]; annotated as Any for jsonargparse, see `advantages.Combine`."""
Ratio = Callable[[Tensor, Tensor, Tensor], Any]
"""(logprobs, old_logprobs, response mask) -> log rho [batch token]; annotated likewise."""
LARGEST_ERROR = 0.2
"""Of a KL relative to its target, as far as one step takes it into account."""


def token_ratio(logprobs: PerToken, old_logprobs: PerToken, mask: Mask) -> PerToken:
    """log rho_t = log pi(y_t) - log old(y_t): each token has its own ratio, as in PPO and RTT."""
    return logprobs - old_logprobs


def sequence_ratio(logprobs: PerToken, old_logprobs: PerToken, mask: Mask) -> PerToken:
    """log s = mean over the response's tokens of log pi - log old, the same for all of them: GSPO, arXiv 2507.18071.

    The gradient goes through the mean: that of a token's s A_t is s A_t / T times the gradient of the *sum* of all
    log-probs. Over a response, where nothing is clipped, only the mean of A is left, and token credit that sums to 0
    cancels; `sequence_token_ratio` keeps it. A row without response tokens has 0.
    """
    moved = torch.where(mask, logprobs - old_logprobs, 0.0).sum(1, keepdim=True)
    return (moved / mask.sum(1, keepdim=True).clamp(min=1)).expand_as(logprobs)


def sequence_token_ratio(logprobs: PerToken, old_logprobs: PerToken, mask: Mask) -> PerToken:
    """log (sg[s] pi(y_t) / sg[pi(y_t)]): the value of `sequence_ratio`, the gradient of a ratio of each token's own.

    GSPO-token, arXiv 2507.18071. Where A is the same for all tokens of a response, value, clipping and gradient of the
    surrogate are those of `sequence_ratio`; where it is not, each token is moved by its own A.
    """
    return sequence_ratio(logprobs, old_logprobs, mask).detach() + logprobs - logprobs.detach()


def clipped_surrogate(
    log_ratio: PerToken, advantages: PerToken, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> tuple[PerToken, Mask]:
    """-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A). RTT, Eq. 6.

    With ``dual_clip`` c, -max(min(rho A, clip(rho) A), c A) where A < 0: the loss of a token is at most c |A| there,
    however likely it has become, and beyond it has no gradient. Ye et al. 2020, arXiv 1912.09729 (c = 3).

    As one clip: rho is held to at most 1 + clip_high where A > 0, to [1 - clip_low, c] where A < 0.

    Args:
        log_ratio: log rho, from `token_ratio` or the like.
        advantages: A.
        clip_low: See above.
        clip_high: See above.
        dual_clip: > 1; ``None`` for no bound.

    Returns:
        The per-token loss, and the tokens where clipping holds back the gradient.
    """
    ratio, falls = log_ratio.exp(), advantages < 0
    lowest = torch.where(falls, 1 - clip_low, ratio.new_zeros(()))
    highest = torch.where(falls, inf if dual_clip is None else dual_clip, ratio.new_full((), 1 + clip_high))
    held = ratio.clamp(lowest, highest)
    return -held * advantages, ((ratio < lowest) | (ratio > highest)) & (advantages != 0)


def importance_weights(old_logprobs: PerToken, sampler_logprobs: PerToken, cap: float) -> tuple[PerToken, Mask]:
    """w = min(exp(old_logprobs - sampler_logprobs), cap), without gradient: truncated importance sampling.

    The clipped surrogate expects tokens of the weights that its ratio starts from. They come from a sampler, whose
    arithmetic differs or whose weights are older: without the cap, w times the loss of a token has the expectation of
    the loss over tokens of those weights. The cap bounds the variance; where it acts, tokens count too little.

    Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"; with older weights, the
    decoupled objective of PPO, arXiv 2110.00641 and 2505.24298.

    Args:
        old_logprobs: Of the weights that the ratio starts from.
        sampler_logprobs: The sampler's, over the full vocabulary and at the same temperature; NaN (unknown) gives NaN.
        cap: >= 1; ratios beyond it, even infinite ones, have this weight.

    Returns:
        The weights, in [0, cap], and the tokens where the cap acts.
    """
    ratio = (old_logprobs - sampler_logprobs).detach().exp()
    return ratio.clamp(max=cap), ratio > cap


def kl_k1(logprobs: PerToken, reference: PerToken) -> PerToken:
    """log pi - log ref: unbiased for KL(pi || ref) on samples of pi, high variance, may be negative. Useless in a loss:
    on policy its gradient is that of log pi, whose expectation is 0.
    """
    return logprobs - reference


def kl_k2(logprobs: PerToken, reference: PerToken) -> PerToken:
    """(log pi - log ref)^2 / 2: biased, low variance, never negative; its gradient is that of the KL on policy."""
    return (logprobs - reference).square() / 2


def kl_k3(logprobs: PerToken, reference: PerToken) -> PerToken:
    """ref / pi - 1 - log(ref / pi): unbiased for KL(pi || ref) on samples of pi, low variance, never negative.

    Exact, with its gradient 1 - ref / pi, wherever the dtype can hold it (in fp32 up to a log-ratio of 88.7). Larger
    log-ratios have the value and gradient at that limit, so that they are still pulled back, by a finite force.
    """
    log_ratio = reference - logprobs
    largest = torch.finfo(log_ratio.dtype)
    held = log_ratio.detach().clamp(max=log(largest.max) * (1 - largest.eps))
    slope = held.expm1()
    return slope - held + slope * (log_ratio - log_ratio.detach())  # the last term is 0 and carries the gradient


def adapted_coefficient(coefficient: float, kl: float, target: float, gain: float, least: float) -> float:
    """max(least, beta (1 + gain clip(kl / target - 1, -0.2, 0.2))): the weight of a KL after an update.

    It rises while the KL is above its target and falls below. Ziegler et al. 2019, arXiv 1909.08593, with gain 0.1 and
    without a least weight. A run begins at a KL of 0: without one it loses its weight on the way to the target, and is
    far beyond before it has gained enough again. A KL that is not finite changes nothing.

    Args:
        coefficient: beta, > 0.
        kl: Measured.
        target: > 0, in the same unit.
        gain: In (0, 5), so that the result is > 0.
        least: Of the result.
    """
    if not isfinite(kl):
        return coefficient
    error = min(max(kl / target - 1, -LARGEST_ERROR), LARGEST_ERROR)
    return max(least, coefficient * (1 + gain * error))


def binary_cross_entropy(logits: PerToken, labels: PerToken | Mask) -> PerToken:
    """Token-wise cross entropy of relevance logits and labels in [0, 1]. RTT, Eq. 5."""
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none")


def masked_sum(values: PerToken, mask: Mask) -> Float[Tensor, ""]:
    """Sum of ``values`` where ``mask``; others, even NaN, affect neither value nor gradient."""
    return torch.where(mask, values, 0.0).sum()


def token_mean(
    values: PerToken, mask: Mask, update_tokens: Tensor | float, micro_batches: int, ranks: int
) -> Float[Tensor, ""]:
    """This micro-batch's share of the mean over all response tokens of the update.

    Lightning divides a loss by ``micro_batches`` (accumulation) and DDP / FSDP average gradients over ``ranks``. This
    multiplies by both, so that the sum over micro-batches and ranks is sum(values) / update_tokens: a mean over tokens,
    not a mean of means.

    Args:
        values: Per-token losses.
        mask: Tokens that count. Without any, the result is 0 with a graph, so that every rank still runs backward.
        update_tokens: The denominator: masked tokens in all micro-batches of the update on all ranks.
        micro_batches: Micro-batches per update.
        ranks: World size.
    """
    return masked_sum(values, mask) * (micro_batches * ranks) / max(float(update_tokens), 1.0)
