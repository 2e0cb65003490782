"""How well relevance finds the relevant tokens: sums per cell, which add up over cells, prompts and processes, and
their ratios.

A *cell* is a response and a criterion. A *mixed* cell has relevant and other tokens: the only kind that tells a ranking
of tokens from a constant. Average precision comes in two forms. *Pooled*, the tokens of all cells are one ranking, in
which those of long responses dominate, and cells with many relevant tokens gain from a high constant. *Per cell*, each
mixed cell is a ranking of its own, and the mean over cells counts each once: what credit within a response depends on.
"""

import torch
from torch import Tensor

from rtt_lightning.types.axes import Bool, Float, Int

BINS = 10
"""Of p, equally wide, for the calibration."""
SUMS = (
    "cells", "tokens", "relevant", "predicted", "found", "squares",
    "mixed_cells", "mixed_tokens", "mixed_relevant", "precision", "chance",
)  # fmt: skip
"""Columns of `quality_sums` before those of the bins."""
ABOUT_MIXED = ("base_rate", "average_precision_per_cell", "average_precision_by_chance")
"""Metrics of `quality_metrics` that only mixed cells have a part in."""
CONSTANT = (
    "the discriminator ranks the tokens of a response about as chance does: in effect p is a constant, whatever "
    "its F1 and pooled average precision. Lower the learning rate (a body that moved too far does not recover), or "
    "train longer; or the labels of mixed cells are wrong"
)
"""What a collapsed discriminator is, and what to try."""
EULER = 0.5772156649015329


def average_precision(
    p: Float[Tensor, "*batch token"], labels: Bool[Tensor, "*batch token"], weights: Float[Tensor, "*draw token"]
) -> Float[Tensor, "*draw"]:
    """Mean over the relevant tokens of the precision among all tokens at least as relevant by p: the area under the
    precision-recall curve as a sum of steps, as in scikit-learn and torchmetrics.

    Equal values of p are one step: a constant has the share of relevant tokens. Example: p (0.9, 0.8, 0.8, 0.1) with
    labels (1, 0, 1, 0) -> (1/1 + 2/3) / 2.

    Args:
        p: Relevance.
        labels: Which tokens are relevant.
        weights: How often each token counts, 0 for not at all: a mask, or draws of a bootstrap of one ranking.

    Returns:
        In (0, 1]; NaN without a relevant token.
    """
    p, order = p.sort(dim=-1, descending=True)
    weights = weights.gather(-1, order.expand_as(weights))
    hits = weights * labels.gather(-1, order)
    number, index = p.shape[-1], torch.arange(p.shape[-1], device=p.device)
    ends = torch.cat([p[..., 1:] != p[..., :-1], torch.ones_like(p[..., :1], dtype=torch.bool)], -1)
    last = torch.where(ends, index, number).flip(-1).cummin(-1).values.flip(-1)  # of the tokens with an equal p
    precision = hits.cumsum(-1) / weights.cumsum(-1).clamp(min=1e-12)
    return (hits * precision.gather(-1, last.expand_as(hits))).sum(-1) / hits.sum(-1)


def precision_by_chance(relevant: Float[Tensor, "*batch"], tokens: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The expected average precision of a random ranking without equal values, of n relevant among T > 1 tokens.

    The token of rank i is relevant with n / T, and then 1 + (i - 1) (n - 1) / (T - 1) of the first i are, on average:
    (H + q (T - H)) / T with q = (n - 1) / (T - 1) and H = 1 + 1/2 + ... + 1/T. More than the share n / T in short
    answers: 1 of 50 gives 0.09.
    """
    harmonic, q = torch.digamma(tokens + 1) + EULER, (relevant - 1) / (tokens - 1).clamp(min=1)
    return (harmonic + q * (tokens - harmonic)) / tokens


def quality_sums(
    p: Float[Tensor, "batch token"], labels: Bool[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch sum"]:
    """The sums of each cell that `quality_metrics` and `reliability` need, in double: `SUMS`, then of each bin the
    tokens, their p and the relevant ones.

    Args:
        p: Relevance in [0, 1].
        labels: Which tokens are relevant.
        mask: The tokens that count.
    """
    counts, p, labels = mask.double(), p.double(), labels & mask
    tokens, relevant = counts.sum(1), labels.sum(1).double()
    positive = (p > 0.5) & mask
    mixed = ((relevant > 0) & (relevant < tokens)).double()
    is_mixed = mixed > 0
    columns = {
        "cells": torch.ones_like(tokens),
        "tokens": tokens,
        "relevant": relevant,
        "predicted": positive.sum(1),
        "found": (positive & labels).sum(1),
        "squares": (counts * (p - labels.double()).square()).sum(1),
        "mixed_cells": mixed,
        "mixed_tokens": mixed * tokens,
        "mixed_relevant": mixed * relevant,
        "precision": torch.where(is_mixed, average_precision(p, labels, counts), 0.0),
        "chance": torch.where(is_mixed, precision_by_chance(relevant, tokens), 0.0),
    }
    place = (p * BINS).long().clamp(0, BINS - 1)
    parts = [torch.zeros_like(p[:, :1]).repeat(1, BINS).scatter_add(1, place, counts * v) for v in (1.0, p, labels)]
    return torch.cat([torch.stack([columns[name] for name in SUMS], 1), torch.stack(parts, 2).flatten(1)], 1)


def quality_metrics(sums: Float[Tensor, "*draw sum"]) -> dict[str, Float[Tensor, "*draw"]]:
    """Ratios of sums of `quality_sums`; NaN where nothing was measured.

    ``average_precision_per_cell`` and ``average_precision_by_chance``, what random rankings of the same cells reach on
    average: means over mixed cells. ``base_rate``, the share of relevant tokens in these. Over all tokens ``f1`` of p
    above 0.5; ``brier``, the mean of (p - label)²; ``calibration_error``, the mean over tokens of the distance between
    mean p and share of relevant tokens in their bin.
    """
    named, bins = dict(zip(SUMS, sums.unbind(-1), strict=False)), _bins(sums)
    gap = (bins[..., 1] - bins[..., 2]).abs().sum(-1)
    return {
        "average_precision_per_cell": named["precision"] / named["mixed_cells"],
        "average_precision_by_chance": named["chance"] / named["mixed_cells"],
        "base_rate": named["mixed_relevant"] / named["mixed_tokens"],
        "f1": 2 * named["found"] / (named["predicted"] + named["relevant"]),
        "brier": named["squares"] / named["tokens"],
        "calibration_error": gap / named["tokens"],
    }


def reliability(sums: Float[Tensor, " sum"]) -> Float[Tensor, "10 3"]:
    """Of each bin of p: number of tokens, their mean p, and the share of them that are relevant; NaN without any."""
    tokens, p, relevant = _bins(sums).unbind(-1)
    return torch.stack([tokens, p / tokens, relevant / tokens], -1)


def is_constant(per_cell: float, by_chance: float) -> bool:
    """Whether average precision per cell is about that of chance: less than a twentieth of the way from it to 1."""
    return per_cell - by_chance < 0.05 * (1 - by_chance)


def summed(sums: Float[Tensor, "cell sum"], group: Int[Tensor, " cell"], groups: int) -> Float[Tensor, "group sum"]:
    """Sums of cells by the number of their group, such as a prompt."""
    return sums.new_zeros(groups, sums.shape[1]).index_add(0, group, sums)


def _bins(sums: Tensor) -> Tensor:
    return sums[..., len(SUMS) :].unflatten(-1, (BINS, 3))
