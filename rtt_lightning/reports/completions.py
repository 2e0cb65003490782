"""How rollouts are shown and saved: parquet files, a table of completions, a table by criterion kind."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from rtt_lightning.functional.accuracy import accuracy_by_kind, counts_by_kind
from rtt_lightning.reports.hacking import hacking_metrics
from rtt_lightning.reports.weights import weights_by_kind
from rtt_lightning.runtime.terminal import three_decimals
from rtt_lightning.types import Credited, JudgedRollout

MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
"""Mark and colour of a criterion that is as desired, is not, and is undecided."""
SHOWN_OF_PROMPT, SHOWN_OF_RESPONSE = 300, 600
"""Characters."""
FAINT, GREAT = 0.1, 0.5
"""Shares of the greatest credit: tokens below the first have no colour, those from the second on are bold."""


def write_completions(
    path: Path,
    judged: Sequence[JudgedRollout],
    relevance: Tensor | None = None,
    advantages: Tensor | None = None,
) -> None:
    """Write rollouts with their tokens, as records that `RecordFiles` reads again.

    Args:
        path: A ``.parquet`` file; its folder is created.
        judged: One row each.
        relevance: ``[batch rubric token]``.
        advantages: ``[batch token]``.
    """
    rows = [item.to_row() for item in judged]
    for number, row in enumerate(rows):
        length, rubric = len(row["response_ids"]), len(judged[number].verdicts)
        row |= {} if relevance is None else {"relevance": relevance[number, :rubric, :length].tolist()}
        row |= {} if advantages is None else {"advantages": advantages[number, :length].tolist()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows), partial)
    partial.replace(path)  # readers always find a complete file


def print_window(number: int, judged: Sequence[JudgedRollout], credited: Credited, rows: int) -> None:
    """Print the first ``rows`` responses of a window by prompt, and `hacking_metrics` of all."""
    rewards = torch.full((len(judged),), torch.nan)
    if credited.rewards is not None and credited.known is not None:
        rewards = torch.where(credited.known, credited.rewards, torch.nan)
    seen = ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in hacking_metrics(judged).items())
    print_completions(judged[:rows], rewards[:rows], credited.advantages[:rows], f"window {number}: {seen}")


def print_completions(judged: Sequence[JudgedRollout], rewards: Tensor, advantages: Tensor, title: str) -> None:
    """Print responses by prompt: prompt, criteria, and a row per response with a tick for each criterion as desired.

    Tokens with positive credit are green, with negative credit red; great credit is bold. Text of models and data is
    never interpreted as markup.

    Args:
        judged: The responses, grouped by prompt.
        rewards: ``[batch]``; NaN if unknown.
        advantages: ``[batch token]``
        title: Printed first.
    """
    console = Console()
    console.print(Text(f"{title}\n✓ as desired (of a negative weight: not met), ✗ not, ? undecided"))
    greatest = float(advantages.abs().max()) if advantages.numel() else 0.0
    both = zip(judged, rewards.tolist(), advantages.tolist(), strict=True)
    for _, group in groupby(both, key=lambda row: row[0].sample.id):
        table, rows = Table(box=HORIZONTALS, show_lines=True, padding=(0, 1, 0, 0)), list(group)
        sample = rows[0][0].sample
        console.print(Text(_begin(sample.asked, SHOWN_OF_PROMPT), "bold"))
        for number, criterion in enumerate(sample.criteria, start=1):
            console.print(Text(f"{number:>3} {criterion.label}"))
            table.add_column(str(number), width=2 if number > 9 else 1)
        table.add_column("reward", justify="right", width=6)
        table.add_column("response")
        for item, reward, credit in rows:
            marks = [Text(*MARKS[verdict.as_desired(criterion)]) for criterion, verdict in item.decisions]
            table.add_row(*marks, "–" if math.isnan(reward) else f"{reward:.2f}", _coloured(item, credit, greatest))
        console.print(table)


def _coloured(item: JudgedRollout, credit: Sequence[float], greatest: float) -> Text:
    """The beginning of a response, with tokens coloured by credit."""
    text = Text(_begin(item.rollout.text, SHOWN_OF_RESPONSE))
    for (start, end), value in zip(item.rollout.offsets, credit, strict=False):
        share = abs(value) / greatest if greatest else 0.0
        if share >= FAINT:
            text.stylize(f"{'bold ' if share >= GREAT else ''}{'green' if value > 0 else 'red'}", start, end)
    return text


def _begin(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}…"


def show_kinds(judged: Sequence[JudgedRollout], title: str) -> None:
    """Print a table of rubric-level accuracy per criterion kind, lowest first, without scorable criteria last."""
    forgiven = [replace(item, verdicts=item.loose) for item in judged if item.loose is not None]
    strict, loose = (accuracy_by_kind(counts_by_kind(items)) for items in (judged, forgiven))
    table = Table(title=title, title_justify="left")
    weights = weights_by_kind(item.sample for item in judged)
    columns = ("kind", *(["weights"] if any(weights.values()) else []), "criteria", "as desired")
    for name in (*columns, *(["loosely"] if loose else []), "unscorable"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, (accuracy, total, unscorable) in strict.items():
        weighed = [weights[kind]] if "weights" in columns else []
        forgiving = [three_decimals(loose[kind][0])] if loose else []
        table.add_row(Text(kind), *weighed, str(total), three_decimals(accuracy), *forgiving, str(unscorable))
    Console().print(table)
