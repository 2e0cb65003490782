"""Attention of a single position per row, while responses are sampled. `benchmarks/sampling.py` measures it."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attend_once(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """The heads of a group take the place of positions, so that they read their keys in place, uncopied.

    On a CPU two plain products take less time than SDPA for so few queries.

    Args:
        query: ``[row head 1 feature]``.
        key: ``[row group position feature]``; each group serves as many successive heads.
        value: As ``key``.
        mask: ``[row 1 1 position]``, true for what a row sees or added to the products; or none.
        scaling: Of the products, by default 1 / sqrt(feature).

    Returns:
        ``[row 1 head feature]``.
    """
    rows, heads, _, features = query.shape
    groups = query.view(rows, key.shape[1], -1, features)
    if query.device.type != "cpu" or (mask is not None and mask.dtype != torch.bool):
        attended = scaled_dot_product_attention(groups, key, value, attn_mask=mask, scale=scaling)
        return attended.reshape(rows, 1, heads, -1)
    products = torch.matmul(groups, key.mT).float() * (features**-0.5 if scaling is None else scaling)
    products = products if mask is None else products.masked_fill_(~mask, -torch.inf)
    return torch.matmul(products.softmax(-1).to(value.dtype), value).reshape(rows, 1, heads, -1)
