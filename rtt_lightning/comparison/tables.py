"""A comparison in Markdown, which also reads well on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rtt_lightning.comparison.measures import ACCURACIES
from rtt_lightning.comparison.words import frontier_note, p_value, rows, seeds, share, signed, without_kl
from rtt_lightning.runtime.terminal import three_decimals

NOTE = (
    "Gains over the policy before training, on held-out prompts, with 95 % intervals by bootstrap over seeds and "
    "prompts, paired by both; after a difference its p-value, corrected for the number of methods (Holm). At "
    "instruction level what is undecided counts as not as desired: a lower bound."
)


def markdown(found: Mapping[str, Any], title: str, baseline: str, left_out: Sequence[str]) -> str:
    """The tables of what `rtt_lightning.comparison.measures.measure` found.

    Args:
        found: Of one model.
        title: In plain text.
        baseline: The method that others are compared with.
        left_out: Names of runs that are not complete.
    """
    parts = [f"# {title}", NOTE, *left_out_note(left_out), f"Over {seeds(found)}."]
    if found["at_kl"]:
        where = " ".join(("Where each run's own curve first reaches it.", frontier_note(found))).strip()
        parts.append(f"## At a KL of {found['kl']:.2f} nats per response\n\n{where}")
        parts += [_gains(split, of, [*found["points"]], baseline) for split, of in found["at_kl"].items()]
    else:
        parts.append(without_kl(found))
    parts.append("## After the last update")
    parts += [_gains(split, of, [*found["points"]], baseline) for split, of in found["last"].items()]
    parts += [_tripped(found), _metrics(found), _kinds(found["kinds"])]
    return "\n\n".join(parts) + "\n"


def left_out_note(left_out: Sequence[str]) -> list[str]:
    """A line about runs that are not complete, if any."""
    return [f"Not complete, so left out: {', '.join(left_out)}."] if left_out else []


def _gains(split: str, by_metric: Mapping[str, Any], methods: Sequence[str], baseline: str) -> str:
    parts = [cell for name in ACCURACIES.values() for cell in (name, "gain", f"gain less that of {baseline}")]
    rows = [[method, *(cell for each in by_metric.values() for cell in _cells(each.get(method)))] for method in methods]
    return f"### {split.capitalize()}\n\n{table(['method', *parts], rows)}"


def _cells(found: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if found is None:
        return "–", "–", "–"
    apart = found.get("difference")
    return share(found["accuracy"]), signed(found["gain"]), f"{signed(apart)}, {p_value(apart)}" if apart else ""


def _tripped(found: Mapping[str, Any]) -> str:
    lines = [f"- {run}: {'; '.join(why)}" for runs in found["tripped"].values() for run, why in runs.items()]
    said = "\n".join(lines) or "No run trips one."
    return f"### Guards\n\nWhat training changed that nobody asked for, after the last update.\n\n{said}"


def _metrics(found: Mapping[str, Any]) -> str:
    note = "Of responses after the last update; of training, over its last quarter (times: all of it)."
    return f"### Responses and training\n\n{note}\n\n{table(*rows(found))}"


def _kinds(kinds: Mapping[str, Mapping[str, float]]) -> str:
    names = next(iter(kinds.values()))
    rows = [[kind, *(three_decimals(value) for value in row.values())] for kind, row in kinds.items()]
    return f"### By kind of criterion, after the last update\n\n{table(['kind', *names], rows)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of equal width, the first left-aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((first, *others))} |"

    rule = "|".join("-" * (widths[0] + 2) if not i else "-" * (width + 1) + ":" for i, width in enumerate(widths))
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])
