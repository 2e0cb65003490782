"""Per-token losses and their aggregation."""

from collections.abc import Callable
from math import log
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rtt_lightning.types.axes import Bool, Float

PerToken = Float[Tensor, "batch token"]
Mask = Bool[Tensor, "batch token"]
Distance = Callable[[Tensor, Tensor], Any]
"""(logprobs, reference) -> KL [batch token]; annotated as Any for jsonargparse, see `advantages.Combine`."""


def clipped_surrogate(
    logprobs: PerToken, old_logprobs: PerToken, advantages: PerToken, clip_low: float, clip_high: float
) -> tuple[PerToken, Mask]:
    """-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) with rho = exp(logprobs - old_logprobs). RTT, Eq. 6.

    Returns:
        The per-token loss, and the tokens where clipping holds back the gradient.
    """
    ratio = (logprobs - old_logprobs).exp()
    free = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return -torch.minimum(free, clipped), (clipped < free).detach()


def importance_weights(old_logprobs: PerToken, sampler_logprobs: PerToken, cap: float) -> tuple[PerToken, Mask]:
    """w = min(exp(old_logprobs - sampler_logprobs), cap), without gradient: truncated importance sampling.

    The clipped surrogate expects tokens of the weights that its ratio starts from. They come from a sampler, whose
    arithmetic differs or whose weights are older: without the cap, w times the loss of a token has the expectation of
    the loss over tokens of those weights. The cap bounds the variance; where it acts, tokens count too little.

    Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"; with older weights, the
    decoupled objective of PPO, arXiv 2110.00641 and 2505.24298.

    Args:
        old_logprobs: As for `clipped_surrogate`.
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
