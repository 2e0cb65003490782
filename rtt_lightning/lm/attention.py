"""Attention over a packed row of prompts and responses, in which a response sees its prompt and itself, up to each
position or, in an encoder, as a whole.

No mask of all positions is made, and nothing is computed that would be masked: on a CPU, and in fp32, in tiles of
matrix products; on a GPU by one call of a variable-length kernel. Whatever else a model asks of attention, such as a
bias of its own, is computed by `transformers`, with the mask.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rtt_lightning.lm.single import attend_once

NAME = "rtt"
"""Of this attention in the configuration of a model; without segments it computes what SDPA does."""
TILE_NUMEL = 2**18
"""Products of queries and keys that exist at a time: they stay in a cache."""
ASKS_MORE = ("position_bias", "s_aux", "softcap", "sliding_window")
"""What layers of some models give to attention, of which segments know nothing."""
WIDEST_KERNEL = 256
"""Features per head that the variable-length kernel takes."""


@dataclass(frozen=True)
class Segment:
    """A prompt, or a response: successive positions of a packed row.

    Attributes:
        own: Its positions.
        prefix: Those that it sees beside itself: of its prompt; none, for a prompt.
    """

    own: slice
    prefix: slice

    @property
    def length(self) -> int:
        return self.own.stop - self.own.start

    @property
    def keys(self) -> int:
        """Positions that the last one sees."""
        return self.prefix.stop - self.prefix.start + self.length


@dataclass(frozen=True)
class Segments:
    """All of a packed row, in order.

    Attributes:
        each: They cover the row.
        device: Where the row is computed.
        kernel: Whether the device has the variable-length kernel.
        causal: Whether a position sees only those of its own segment that are before it, and itself.
    """

    each: Sequence[Segment]
    device: torch.device
    kernel: bool = False
    causal: bool = True

    @cached_property
    def mask(self) -> Tensor:
        """``[1 1 position position]`` bool: which position (third axis) sees which (last)."""
        tokens = self.each[-1].own.stop
        sees = torch.zeros(tokens, tokens, dtype=torch.bool)
        for segment in self.each:
            sees[segment.own, segment.prefix] = True
            own = torch.ones(segment.length, segment.length, dtype=torch.bool)
            sees[segment.own, segment.own] = own.tril() if self.causal else own
        return sees[None, None].to(self.device)

    @cached_property
    def keys(self) -> Tensor:
        """Positions of the keys of each segment, of one after the other: for the kernel."""
        spans = [span for segment in self.each for span in (segment.prefix, segment.own)]
        return torch.cat([torch.arange(span.start, span.stop) for span in spans]).to(self.device)

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor, int, int]:
        """Where the queries and the keys of each segment begin, and the most of both: for the kernel."""
        queries = [segment.length for segment in self.each]
        keys = [segment.keys for segment in self.each]
        starts = (torch.tensor([0, *counts]).cumsum(0).int().to(self.device) for counts in (queries, keys))
        return (*starts, max(queries), max(keys))  # pyright: ignore[reportReturnType]


def use_segments(model: PreTrainedModel) -> None:
    """Have a model that uses SDPA attend by `attend`. Others are unchanged: those with flash attention, and families
    whose layers do not ask `transformers` for their attention.
    """
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        model.config._attn_implementation = NAME


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as `transformers` calls it.

    Args:
        module: The attention layer.
        query: ``[row head position feature]``.
        key: ``[row group position feature]``; each group serves as many successive heads.
        value: As ``key``.
        attention_mask: ``[row 1 position position]``, or none; of no account with ``segments``.
        scaling: Of the products, by default 1 / sqrt(feature).
        segments: Of a packed row.
        kwargs: As for `sdpa_attention_forward`.

    Returns:
        ``[row position head feature]``, and no attention weights.
    """
    if segments is None and query.shape[2] == 1 and kwargs.get("position_bias") is None:
        return attend_once(query, key, value, attention_mask, scaling), None
    if segments is None or any(kwargs.get(name) is not None for name in ASKS_MORE):
        mask = attention_mask if segments is None else segments.mask
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)
    device = query.device.type
    if torch.is_autocast_enabled(device):  # as it does for the function that stands here otherwise
        query, key, value = (states.to(torch.get_autocast_dtype(device)) for states in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    path = _by_kernel if segments.kernel and _fits_kernel(query, value) else _by_tiles
    return path(query[0], key[0], value[0], segments, scale).transpose(0, 1)[None], None


# -- on a GPU, in half precision -------------------------------------------------------------------------------------


def has_kernel(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _fits_kernel(query: Tensor, value: Tensor) -> bool:
    half = query.dtype in (torch.bfloat16, torch.float16)
    return half and query.shape[-1] == value.shape[-1] <= WIDEST_KERNEL


GROUPS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
"""Older versions of torch take fewer key heads than query heads without being told."""


def _by_kernel(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """``[head position feature]``. The keys of a prompt are gathered for each response to it."""
    keys, values = (states.transpose(0, 1).index_select(0, segments.keys) for states in (key, value))
    kwargs: dict[str, Any] = {"scale": scale, "window_size": (-1, 0 if segments.causal else -1), **GROUPS}
    attended: Any = varlen_attn(query.transpose(0, 1), keys, values, *segments.bounds, **kwargs)
    return attended.transpose(0, 1)


# -- elsewhere -------------------------------------------------------------------------------------------------------


def _by_tiles(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """``[head position feature]``."""
    return _Tiles.apply(query, key, value, segments, scale)  # pyright: ignore[reportReturnType]


def _tiles(segments: Segments, heads: int) -> list[tuple[slice, slice, slice]]:
    """Queries, and the keys that they see: of the prompt, and of their own segment (up to the last of them)."""
    tiles = []
    for segment in segments.each:
        width = max(TILE_NUMEL // (heads * segment.keys), 16)
        for start in range(segment.own.start, segment.own.stop, width):
            stop = min(start + width, segment.own.stop)
            last = stop if segments.causal else segment.own.stop
            tiles.append((slice(start, stop), segment.prefix, slice(segment.own.start, last)))
    return tiles


def _seen(states: Tensor, prefix: slice, own: slice) -> Tensor:
    """``[group key feature]``: those that a tile sees."""
    return torch.cat([states[:, prefix], states[:, own]], 1) if prefix.stop > prefix.start else states[:, own]


def _products(queries: Tensor, keys: Tensor, positions: int, scale: float, causal: bool) -> Tensor:
    """``[group head position key]`` fp32 products of queries ``[group head-position feature]`` with what they see."""
    groups, rows, _ = queries.shape
    products = torch.bmm(queries, keys.mT).float().mul_(scale).view(groups, rows // positions, positions, -1)
    if causal:
        later = torch.ones(positions, positions, dtype=torch.bool, device=queries.device).triu_(1)
        products[..., -positions:].masked_fill_(later, -torch.inf)
    return products


class _Tiles(torch.autograd.Function):
    """Softmax attention, a tile at a time; the backward pass computes the weights of a tile again.

    With P the weights of a tile and O = P V: dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = dS K, dK = dS^T Q,
    as in FlashAttention (2205.14135).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
        heads, positions, _ = query.shape
        groups = len(key)
        attended = query.new_empty(positions, heads, value.shape[-1]).transpose(0, 1)  # as `attend` returns it
        norms = torch.empty(heads, positions, device=query.device)
        for own, prefix, seen in _tiles(segments, heads):
            count = own.stop - own.start
            queries = query[:, own].reshape(groups, -1, query.shape[-1])
            products = _products(queries, _seen(key, prefix, seen), count, scale, segments.causal)
            largest = products.amax(-1, keepdim=True)
            weights = products.sub_(largest).exp_()
            total = weights.sum(-1, keepdim=True)
            norms[:, own] = (largest + total.log()).view(heads, count)
            weights = weights.div_(total).to(value.dtype).view(groups, queries.shape[1], -1)
            attended[:, own] = torch.bmm(weights, _seen(value, prefix, seen)).view(heads, count, -1)
        ctx.save_for_backward(query, key, value, attended, norms)
        ctx.segments, ctx.scale = segments, scale
        return attended

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, attended, norms = ctx.saved_tensors
        (grad,) = grads
        heads, groups = len(query), len(key)
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (torch.zeros_like(states, dtype=torch.float32) for states in (key, value))
        centre = (grad.float() * attended).sum(-1)
        for own, prefix, seen in _tiles(ctx.segments, heads):
            count = own.stop - own.start
            queries, above = (states[:, own].reshape(groups, -1, states.shape[-1]) for states in (query, grad))
            keys, values = _seen(key, prefix, seen), _seen(value, prefix, seen)
            norm, middle = (each[:, own].reshape(groups, -1, count, 1) for each in (norms, centre))
            weights = _products(queries, keys, count, ctx.scale, ctx.segments.causal).sub_(norm).exp_()
            slopes = torch.bmm(above, values.mT).float().view_as(weights).sub_(middle).mul_(weights).mul_(ctx.scale)
            weights, slopes = (each.to(query.dtype).view(groups, queries.shape[1], -1) for each in (weights, slopes))
            grad_query[:, own] = torch.bmm(slopes, keys).view(heads, count, -1)
            for total, part in ((grad_key, torch.bmm(slopes.mT, queries)), (grad_value, torch.bmm(weights.mT, above))):
                total[:, seen] += part[:, prefix.stop - prefix.start :]
                total[:, prefix] += part[:, : prefix.stop - prefix.start]
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
