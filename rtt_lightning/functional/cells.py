"""Statistics and sums of the cells (response, criterion) of relevance, in few readings of a tensor that may be large.

The tensor ``[batch rubric token]`` is read in blocks of rows that stay in the cache of a CPU, and whole on other
devices. Nothing here waits for a device, and no z-score is formed: what is summed over criteria is weighted on the way.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from rtt_lightning.types.axes import Bool, Float, Int

BLOCK = 2**20
"""Elements of relevance that a CPU takes at a time; 4 MB in fp32."""

PerCell = Float[Tensor, "batch rubric"]


def by_rows(function: Callable[..., tuple[Tensor, ...]], relevance: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """``function(relevance, *others)`` over blocks of rows, put together again; batch is the first axis of all."""
    rows = BLOCK // max(1, relevance[:1].numel()) if relevance.device.type == "cpu" else len(relevance)
    blocks = zip(*(tensor.split(max(1, rows)) for tensor in (relevance, *others)), strict=True)
    return tuple(torch.cat(parts) for parts in zip(*(function(*block) for block in blocks), strict=True))


def bits(mask: Tensor) -> Tensor:
    """``mask`` as numbers of which all bits are set, -1, or none: what `kept` takes."""
    return mask.to(torch.int32).neg_()


def kept(values: Tensor, mask: Int[Tensor, "..."]) -> Tensor:
    """``values`` where ``mask``, one of `bits`; 0 elsewhere, also in the place of what is not finite.

    As `torch.where`, for which a CPU takes six times as long. Values are of 32 or 64 bits.
    """
    whole = torch.int64 if values.dtype == torch.double else torch.int32
    return (values.view(whole) & mask.to(whole)).view(values.dtype)


def from_mean(
    relevance: Float[Tensor, "batch rubric token"], answer: Int[Tensor, "batch token"]
) -> tuple[Float[Tensor, "batch rubric token"], Float[Tensor, "batch 1"], PerCell]:
    """Differences from the mean of each cell's answer tokens, 0 at other tokens; then the number of these tokens and
    that mean, in double, which means nothing where there is no such token.

    One of the cell's own values is taken off first: equal values differ from their mean by exactly 0, and nearly equal
    ones lose nothing by rounding. ``answer`` is of `bits`.
    """
    if not relevance.numel():
        nothing = relevance.new_zeros(relevance.shape[:2], dtype=torch.double)
        return relevance, nothing.new_zeros(len(relevance), 1), nothing
    inside = answer.to(working(relevance))[:, None]  # -1 at answer tokens: added times a value it takes that off
    last = (answer & torch.arange(answer.shape[1], dtype=answer.dtype, device=answer.device)).amax(1)
    own = relevance.take_along_dim(last.long()[:, None, None], 2).to(inside)
    count = inside.sum(2, keepdim=True).neg()
    apart = kept(relevance.to(inside), answer[:, None]).addcmul_(inside, own)
    shift = apart.sum(2, keepdim=True) / count
    apart.addcmul_(inside, shift)
    return apart, count[..., 0], (own.double() + shift)[..., 0]


def centred(
    relevance: Float[Tensor, "batch rubric token"], answer: Int[Tensor, "batch token"]
) -> tuple[Float[Tensor, "batch rubric token"], Float[Tensor, "batch 1"], PerCell, PerCell]:
    """`from_mean`, with the population variance of each cell's answer tokens: exactly 0 where they are equal."""
    apart, count, mean = from_mean(relevance, answer)
    variance = torch.linalg.vector_norm(apart, dim=2).square_().div_(count)
    return apart, count, mean, variance


def weighted_sum(
    values: Float[Tensor, "batch rubric token"],
    weights: PerCell,
    answer: Int[Tensor, "batch token"],
    more: Float[Tensor, "batch 1"] | float = 0.0,
) -> Float[Tensor, "batch token"]:
    """sum_k w_ik v_ikt + more_i at answer tokens, of `bits`, and 0 at others; a cell of weight 0 adds nothing, whatever
    it holds, and a row of such cells is 0.

    The sum of an embedding bag reads the values once, and is no matrix product: neither autocast nor
    `torch.set_float32_matmul_precision` rounds it.
    """
    (rows, rubric, _), used, dtype = values.shape, weights != 0, working(values)
    if not values.numel():
        return values.new_zeros(answer.shape, dtype=dtype)
    cells = torch.arange(rows * rubric, device=values.device).view(rows, rubric)
    # 0 times what is not finite is not 0: in the place of an unused cell a used one of its row is read.
    cells = torch.where(used, cells, cells[:, :1] + used.int().argmax(1, keepdim=True))
    table, weights = values.to(dtype).flatten(0, 1), weights.to(dtype)
    total = embedding_bag(cells, table, mode="sum", per_sample_weights=weights)
    return kept(total.add_(more), answer & bits(used.any(1, keepdim=True)))


def pooled(
    count: PerCell, mean: PerCell, variance: PerCell, group_ids: Int[Tensor, " batch"]
) -> tuple[PerCell, PerCell]:
    """Mean and population variance of each criterion over all values of a group, from those of its cells.

    Args:
        count: Values of each cell; one without any takes no part, whatever its mean and variance.
        mean: Of each cell, in double, as all here.
        variance: Of each cell.
        group_ids: Any values in any order.

    Returns:
        Both ``[batch rubric]``, the same in all rows of a group; a variance of exactly 0 where all values are equal.
    """
    group, part = segments(group_ids), count > 0

    def total(values: Tensor) -> Tensor:
        return torch.zeros_like(mean).index_add(0, group, torch.where(part, values, 0.0))[group]

    index, lowest = group[:, None].expand_as(mean), torch.where(part, mean, -torch.inf)
    own = torch.full_like(mean, -torch.inf).scatter_reduce(0, index, lowest, "amax")[group]
    size = total(count).clamp(min=1)
    centre = own + total(count * (mean - own)) / size
    return centre, total(count * (variance + (mean - centre).square())) / size


def share(scorable: Bool[Tensor, "batch rubric"]) -> Float[Tensor, "batch 1"]:
    """1 / K, K the scorable criteria of each response; 1 without any."""
    return 1 / scorable.sum(1, keepdim=True).clamp(min=1)


def segments(group_ids: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """A number below the batch size for each row, the same for equal ids alone; found without waiting for a device."""
    return torch.searchsorted(group_ids.sort().values, group_ids)


def working(values: Tensor) -> torch.dtype:
    """The type that values are computed in: fp32, or double for double."""
    return torch.promote_types(values.dtype, torch.float32)
