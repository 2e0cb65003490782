"""Weights of tokens from the contrast of a response's log-probs with and without the criteria. CoRT."""

import torch
from torch import Tensor

from rtt_lightning.types.axes import Bool, Float


def contrast_weights(
    contrast: Float[Tensor, "batch token"],
    answer: Bool[Tensor, "batch token"],
    sharpness: float,
    offset: float,
    strength: float,
) -> Float[Tensor, "batch token"]:
    """w = w~ / (mean of w~ over the answer); w~ = 1 + strength s, s = sigmoid(sharpness (contrast - offset)) - 1/2.

    Args:
        contrast: In nats. A row with NaN in its answer has none: its weights are 1.
        answer: Tokens that are weighed; w is 1 at others.
        sharpness: tau, per nat.
        offset: b, in nats.
        strength: eta lambda, in [0, 2): w~ is then positive.
    """
    has_none = (contrast.isnan() & answer).any(1, keepdim=True)
    raw = 1 + strength * (torch.sigmoid(sharpness * (contrast - offset)) - 0.5)
    raw = torch.where(answer & ~has_none, raw, 0.0)
    mean = raw.sum(1, keepdim=True) / answer.sum(1, keepdim=True)
    return torch.where(raw > 0, raw / mean, 1.0)


def smoothstep(x: float) -> float:
    """3 x^2 - 2 x^3 for x in [0, 1], 0 below and 1 above."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
