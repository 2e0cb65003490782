"""What people and later runs see of rollouts: parquet files, a table of completions, a table per criterion kind."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from rtt_lightning.datamodules.records import criteria_json
from rtt_lightning.metrics import KindAccuracy
from rtt_lightning.reports.signs import signs
from rtt_lightning.reports.weights import weights_by_kind
from rtt_lightning.runtime.terminal import three_decimals
from rtt_lightning.types import Credited, JudgedRollout, RubricSample, Verdict

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
    rows = [_row(item) for item in judged]
    for number, row in enumerate(rows):
        length = len(judged[number].rollout.response_ids)
        rubric = len(judged[number].verdicts)
        row["relevance"] = None if relevance is None else relevance[number, :rubric, :length].tolist()
        row["advantages"] = None if advantages is None else advantages[number, :length].tolist()
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
        for criterion, verdict in zip(item.sample.criteria, item.verdicts, strict=True):
            mark, style = MARKS[verdict.as_desired(criterion)]
            verdicts.append(f"{mark} ", style).append(f"{criterion.label}\n")
        prompt = item.sample.task or item.sample.messages[-1]["content"]
        table.add_row(
            Text(prompt[:300]), Text(item.rollout.text[:600]), verdicts, "–" if math.isnan(reward) else f"{reward:.2f}"
        )
    Console().print(table)


def show_kinds(judged: Sequence[JudgedRollout], title: str) -> None:
    """A table of rubric-level accuracy per criterion kind, rarest success first, never scorable ones last."""
    strict = _by_kind([(item.sample, item.verdicts) for item in judged])
    loose = _by_kind([(item.sample, item.loose) for item in judged if item.loose is not None])
    table = Table(title=title, title_justify="left")
    weights = weights_by_kind(item.sample for item in judged)
    columns = ("kind", *(["weights"] if any(weights.values()) else []), "criteria", "as desired")
    for name in (*columns, *(["loosely"] if loose else []), "unscorable"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, (accuracy, total, unscorable) in sorted(strict.items(), key=lambda row: np.nan_to_num(row[1][0], nan=2)):
        weighed = [weights[kind]] if "weights" in columns else []
        forgiving = [three_decimals(loose[kind][0])] if loose else []
        table.add_row(Text(kind), *weighed, str(total), three_decimals(accuracy), *forgiving, str(unscorable))
    Console().print(table)


def _by_kind(judged: Sequence[tuple[RubricSample, Sequence[Verdict]]]) -> dict[str, tuple[float, int, int]]:
    """Accuracy, scorable and unscorable criteria of each kind."""
    names = sorted({criterion.checker for sample, _ in judged for criterion in sample.criteria})
    kinds = KindAccuracy(names, sync_on_compute=False)  # only one process shows the table, of the rollouts of all
    kinds.update(judged)
    accuracies = map(float, kinds.compute().values())
    rows = zip(accuracies, kinds.total.tolist(), kinds.unscorable.tolist(), strict=True)
    return dict(zip(names, rows, strict=True))


def _row(item: JudgedRollout) -> dict[str, Any]:
    sample, rollout = item.sample, item.rollout
    return {
        "id": sample.id,
        "messages": list(sample.messages),
        "task": sample.task,
        "criteria": criteria_json(sample.criteria, item.verdicts),
        "response": rollout.answer,
        "text": rollout.text,
        "sample_index": rollout.sample_index,
        "response_ids": list(rollout.response_ids),
        "offsets": [list(span) for span in rollout.offsets],
        "finish_reason": rollout.finish_reason,
        "policy_version": rollout.policy_version,
        "temperature": rollout.temperature,
    }
