"""Attention of the embedded engine while it samples: query heads that share a key head read it in place.

`transformers` first copies the keys and values of all positions to each query head. `benchmarks/sampling.py` measures
what this saves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "rtt_grouped_sdpa"


@contextmanager
def grouped_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that uses SDPA attend in groups; others, such as with flash attention, are unchanged."""
    before = model.config._attn_implementation
    if before == "sdpa":
        model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def grouped_sdpa(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Computes the same as `sdpa_attention_forward`. For a single position, the heads of a group act as positions.

    Args:
        module: The attention layer.
        query: ``[row head position feature]``.
        key: ``[row group position feature]``; each group serves as many successive heads.
        value: As ``key``.
        attention_mask: ``[row 1 position position]``, or none.
        scaling: Of the products, by default 1 / sqrt(feature).
        kwargs: As for `sdpa_attention_forward`.

    Returns:
        ``[row position head feature]``, and no attention weights.
    """
    rows, heads, positions, features = query.shape
    if positions > 1 or kwargs.get("position_bias") is not None:  # several positions see different keys
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    groups = query.view(rows, key.shape[1], -1, features)
    attended = scaled_dot_product_attention(groups, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, -1), None


AttentionInterface.register(NAME, grouped_sdpa)
AttentionMaskInterface.register(NAME, sdpa_mask)
