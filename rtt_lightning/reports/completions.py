"""What people and later runs see of rollouts: parquet files, a table of completions, a table per criterion kind."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from rtt_lightning.functional.accuracy import accuracy_by_kind
from rtt_lightning.reports.signs import signs
from rtt_lightning.reports.weights import weights_by_kind
from rtt_lightning.runtime.terminal import three_decimals
from rtt_lightning.types import Credited, JudgedRollout

MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
"""Sign and colour of a criterion that is as desired, is not, and is undecided."""


def write_completions(
    path: Path,
    judged: Sequence[JudgedRollout],
    relevance: Tensor | None = None,
    advantages: Tensor | None = None,
) -> None:
    """Write rollouts as records that `RecordFiles` reads again, with tokens beside them.

    Args:
        path: A ``.parquet`` file; its folder is made.
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
    partial.replace(path)  # whoever reads the file finds it whole


def print_window(number: int, judged: Sequence[JudgedRollout], credited: Credited, rows: int) -> None:
    """The first ``rows`` responses of a window as a table, under what `signs` finds in all of them."""
    rewards = torch.full((len(judged),), torch.nan)
    if credited.rewards is not None and credited.known is not None:
        rewards = torch.where(credited.known, credited.rewards, torch.nan)
    seen = ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in signs(judged).items())
    print_completions(judged[:rows], rewards[:rows], f"window {number}: {seen}")


def print_completions(judged: Sequence[JudgedRollout], rewards: Tensor, title: str) -> None:
    """A table of responses, with a tick at each criterion that is as desired.

    Text of models and data is shown as it is, never as markup.

    Args:
        judged: The responses.
        rewards: ``[batch]``; NaN where the reward is not known.
        title: Of the table.
    """
    table = Table(title=title, show_lines=True, title_justify="left")
    table.add_column("prompt", ratio=3)
    table.add_column("response", ratio=5)
    table.add_column("as desired", ratio=3)
    table.add_column("reward", justify="right")
    for item, reward in zip(judged, rewards.tolist(), strict=True):
        verdicts = Text()
        for criterion, verdict in item.decisions:
            mark, style = MARKS[verdict.as_desired(criterion)]
            verdicts.append(f"{mark} ", style).append(f"{criterion.label}\n")
        shown = "–" if math.isnan(reward) else f"{reward:.2f}"
        table.add_row(Text(item.sample.asked[:300]), Text(item.rollout.text[:600]), verdicts, shown)
    Console().print(table)


def show_kinds(judged: Sequence[JudgedRollout], title: str) -> None:
    """A table of rubric-level accuracy per criterion kind, rarest success first, never scorable ones last."""
    strict = accuracy_by_kind(judged)
    loose = accuracy_by_kind([replace(item, verdicts=item.loose) for item in judged if item.loose is not None])
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
