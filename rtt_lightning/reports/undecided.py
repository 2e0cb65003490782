"""Which responses of an evaluation are undecided, and why: metrics do not show what they leave out."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtt_lightning.runtime.finite import shortened
from rtt_lightning.types import Criterion, JudgedRollout
from rtt_lightning.verifiers.rules.checkers import UNDECIDABLE

MOST_REASONS, MOST_NAMES = 20, 3
"""Most rows of the table, and most names in a cell."""


def undecided_reasons(judged: Sequence[JudgedRollout]) -> list[dict[str, Any]]:
    """The reasons why criteria have no strict verdict, commonest first.

    Returns:
        For each ``reason`` the numbers of ``criteria`` and ``responses``, ``which`` criteria (by checker, or by text if
        no rule decides them), commonest first, and the ids of ``prompts``, in order.
    """
    found: dict[str, list[tuple[Criterion, JudgedRollout]]] = {}
    for item in judged:
        for criterion, verdict in item.decisions:
            if verdict.met is None:
                found.setdefault(verdict.reason, []).append((criterion, item))
    return [
        {
            "reason": reason,
            "criteria": len(places),
            "responses": len({id(item) for _, item in places}),
            "which": [name for name, _ in Counter(_name(criterion) for criterion, _ in places).most_common()],
            "prompts": list(dict.fromkeys(item.sample.id for _, item in places)),
        }
        for reason, places in sorted(found.items(), key=lambda entry: -len(entry[1]))
    ]


def show_undecided(found: Sequence[dict[str, Any]]) -> None:
    """Print `undecided_reasons` as a table, if there are any. Reasons may quote a model or a judge: never markup."""
    if not found:
        return
    table = Table(title="undecided, commonest reason first", title_justify="left", show_lines=True)
    for name in ("reason", "criteria", "responses", "which criteria", "to prompts"):
        table.add_column(name, justify="right" if name in ("criteria", "responses") else "left", overflow="fold")
    for row in found[:MOST_REASONS]:
        names = (Text(shortened(row[column], MOST_NAMES)) for column in ("which", "prompts"))
        table.add_row(Text(row["reason"]), str(row["criteria"]), str(row["responses"]), *names)
    Console().print(table)
    if len(found) > MOST_REASONS:
        left = sum(row["criteria"] for row in found[MOST_REASONS:])
        print(f"{len(found) - MOST_REASONS} more reasons, of {left} criteria")


def _name(criterion: Criterion) -> str:
    return criterion.label if criterion.checker in UNDECIDABLE else criterion.checker
