"""How good a discriminator is: its metrics over all cells and over kinds of them, with intervals; a table of them."""

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.functional.intervals import bootstrap_interval, resamples
from rtt_lightning.functional.quality import (
    ABOUT_MIXED,
    CONSTANT,
    SUMS,
    average_precision,
    is_constant,
    quality_metrics,
    quality_sums,
    reliability,
    summed,
)
from rtt_lightning.reports.evaluation import shown
from rtt_lightning.rollout.faithfulness import RANDOM
from rtt_lightning.rollout.weighed import WeighedPair, in_order
from rtt_lightning.runtime.terminal import counted, listed, three_decimals

PER_CELL, CHANCE, POOLED = "average_precision_per_cell", "average_precision_by_chance", "average_precision"
LABELS = {
    PER_CELL: "average precision per cell",
    CHANCE: "  by chance",
    POOLED: "average precision, pooled",
    "base_rate": "  base rate",
    "f1": "F1 at 0.5",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
GROUPS = {"scopes": "by scope and polarity", "trained": "by whether kinds were trained on", "kinds": "by kind"}
"""Divisions of the cells, and what they are called."""
RANKED = 200
"""Resamples of the pooled average precision, which sorts nothing again but reads all tokens each time."""
AT_ONCE, MOST_KINDS = 2**22, 20
"""Weights of tokens in memory at a time; kinds in the table on the terminal."""


def measure(cells: Sequence[WeighedPair], trained: Collection[str] | None) -> dict[str, Any]:
    """All numbers of an evaluation.

    Args:
        cells: At least one, in any order.
        trained: Kinds of criteria that it was trained on; ``None`` if unknown.

    Returns:
        ``overall``, and by name those of the `GROUPS` ``scopes``, ``trained`` (if known) and ``kinds``; each with the
        numbers of ``prompts``, ``cells``, ``mixed_cells`` and ``tokens``, each metric of `LABELS` with ``mean``,
        ``low`` and ``high``, a 95 % interval by bootstrap over prompts (NaN where unknown), and ``reliability``: of
        each bin of p ``tokens``, mean ``p`` and the share ``relevant``.
    """
    cells = in_order(cells)
    sums = torch.cat([_sums(cells[start : start + 64]) for start in range(0, len(cells), 64)])
    divisions: dict[str, list[str]] = {
        "scopes": [f"{cell.pair['scope']} {cell.pair['polarity']}" for cell in cells],
        "kinds": [cell.pair["checker"] for cell in cells],
    }
    if trained is not None:
        divisions["trained"] = ["seen" if kind in trained else "unseen" for kind in divisions["kinds"]]
    found: dict[str, Any] = {"overall": _measured(cells, sums)}
    for division in (name for name in GROUPS if name in divisions):
        members: dict[str, list[int]] = {}
        for index, name in enumerate(divisions[division]):
            members.setdefault(name, []).append(index)
        found[division] = {
            name: _measured([cells[i] for i in places], sums[places]) for name, places in sorted(members.items())
        }
    return found


def _sums(cells: Sequence[WeighedPair]) -> Tensor:
    """``[cell sum]``"""
    p, labels, mask = (
        pad_sequence([part(cell) for cell in cells], batch_first=True)
        for part in (lambda cell: cell.p, lambda cell: cell.labels, lambda cell: torch.ones_like(cell.labels))
    )
    return quality_sums(p, labels, mask)


def _measured(cells: Sequence[WeighedPair], sums: Tensor) -> dict[str, Any]:
    """The numbers of one group."""
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(cell.pair["prompt_id"] for cell in cells))}
    place = torch.tensor([prompts[cell.pair["prompt_id"]] for cell in cells])
    draws = torch.from_numpy(resamples(len(prompts)))
    by_prompt, total = summed(sums, place, len(prompts)), sums.sum(0)
    drawn = quality_metrics(draws.double() @ by_prompt) | {POOLED: _pooled(cells, place, draws[: 1 + RANKED])}
    number = dict(zip(SUMS, total.tolist(), strict=False))
    having = {name: int((by_prompt[:, SUMS.index(name)] > 0).sum()) for name in ("mixed_cells", "tokens")}
    counts = {name: int(number[name]) for name in ("cells", "mixed_cells", "tokens")}
    intervals = {
        name: bootstrap_interval(
            drawn[name].numpy(), having["mixed_cells" if name in (*ABOUT_MIXED, POOLED) else "tokens"]
        )
        for name in LABELS
    }
    bins = [dict(zip(("tokens", "p", "relevant"), row, strict=True)) for row in reliability(total).tolist()]
    return {"prompts": len(prompts), **counts, **intervals, "reliability": bins}


def _pooled(cells: Sequence[WeighedPair], place: Tensor, draws: Tensor) -> Tensor:
    """``[draw]``, the average precision of the tokens of all mixed cells as one ranking."""
    mixed = [i for i, cell in enumerate(cells) if cell.labels.any() and not cell.labels.all()]
    if not mixed:
        return torch.full((len(draws),), torch.nan)
    p, labels = (torch.cat([part(cells[i]) for i in mixed]) for part in (lambda c: c.p, lambda c: c.labels))
    prompt = place[mixed].repeat_interleave(torch.tensor([len(cells[i].p) for i in mixed]))
    rows = draws.split(max(1, AT_ONCE // len(p)))
    return torch.cat([average_precision(p, labels, row[:, prompt].double()) for row in rows])


# -- on the terminal -------------------------------------------------------------------------------------------------


def show_quality(found: Mapping[str, Any], title: str) -> None:
    """Print the metrics of `measure`, overall and by group, and a warning if the discriminator is a constant."""
    overall = found["overall"]
    table = Table(title=_titled(title, overall), title_justify="left")
    table.add_column("")
    table.add_column("mean and 95 % interval over prompts", justify="right")
    for name, label in LABELS.items():
        table.add_row(label, shown(overall[name]))
    Console().print(table)
    _show_groups(found)
    if is_constant(overall[PER_CELL]["mean"], overall[CHANCE]["mean"]):
        print(f"warning: {CONSTANT}")


def _titled(title: str, overall: Mapping[str, Any]) -> str:
    cells, tokens = counted(overall["cells"], "cell"), f"{overall['tokens']:,} tokens"
    return f"{title}: {cells} of {counted(overall['prompts'], 'prompt')}, {overall['mixed_cells']} mixed; {tokens}"


def _show_groups(found: Mapping[str, Any]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="AP: average precision per cell", title_justify="left")
    for column in ("", "cells", "mixed", "AP", "95 %", "F1", "Brier"):
        table.add_column(column, justify="right" if column else "left", overflow="fold" if not column else "ellipsis")
    for division in GROUPS:
        groups = list(found.get(division, {}).items())
        for number, (name, group) in enumerate(groups[:MOST_KINDS], start=1):
            numbers = (three_decimals(group[metric]["mean"]) for metric in ("f1", "brier"))
            precision = group[PER_CELL]
            table.add_row(
                Text(f"{name} kinds" if division == "trained" else name),
                *map(str, (group["cells"], group["mixed_cells"], three_decimals(precision["mean"]))),
                _range(precision),
                *numbers,
                end_section=number == min(len(groups), MOST_KINDS),
            )
    Console().print(table)
    if len(left := list(found["kinds"])[MOST_KINDS:]):
        print(f"{len(left)} more kinds:\n{listed(left)}")


def show_faithfulness(found: Mapping[str, Any]) -> None:
    """Print the curves of `rtt_lightning.rollout.faithfulness.faithfulness`, and their area above random's."""
    for name, what in (("deletion", "verdicts that flip without"), ("insertion", "criteria still met with only")):
        if name not in found:
            continue
        own = found[name]
        table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
        table.title = f"{name}: {what} the most relevant words, {counted(own['cells'], 'cell')}"
        for column in ("", *(f"{share:.0%}" for share in found["shares"]), "area", "95 %"):
            table.add_column(column, justify="right" if column else "left")
        for source, its in own["sources"].items():
            curve = (three_decimals(point["mean"]) for point in its["curve"])
            area = () if source == RANDOM else (three_decimals(its["area"]["mean"]), _range(its["area"]))
            table.add_row(source, *curve, *area)
        Console().print(table)


def _range(interval: Mapping[str, float]) -> str:
    return "" if isnan(interval["low"]) else f"{interval['low']:.2f} to {interval['high']:.2f}"
