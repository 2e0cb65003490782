"""Floating-point operations of an update, beside what a GPU could do."""

from typing import Any

import torch
from torch import nn

from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.runtime.sharding import has_packed_weights

PEAK = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}
"""Dense 16-bit operations per second, by the maker's data sheets."""


def peak_flops(precision: str) -> float | None:
    """Operations per second of this GPU at most; ``None`` if unknown, on a CPU, or if training is not in 16 bits."""
    known = torch.cuda.is_available() and "16" in precision
    return PEAK.get(torch.cuda.get_device_name()) if known else None


def update_flops(model: nn.Module, tokens: int, responses: int) -> float | None:
    """Operations that forward and backward take: 2 per weight and token for the result and for the gradient of the
    input each, and 2 for the gradient of a trained weight. Attention's products of tokens and recomputing are left out.

    Args:
        model: With or without adapters. A mixture of experts counts as if all experts ran.
        tokens: That the body reads.
        responses: That the head reads: response tokens.

    Returns:
        ``None`` for a 4-bit base, whose weights do not show their number.
    """
    if has_packed_weights(model):
        return None
    causal: Any = without_adapters(model)
    embedding, head = causal.get_input_embeddings().weight, causal.get_output_embeddings().weight
    body = [weight for weight in model.parameters() if weight is not embedding and weight is not head]
    return float(tokens * sum(map(_per_token, body)) + responses * _per_token(head))


def _per_token(weight: nn.Parameter) -> int:
    return weight.numel() * (6 if weight.requires_grad else 4)
