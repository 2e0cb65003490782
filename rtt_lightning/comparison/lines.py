"""The curves of a comparison, for its page and its plot: accuracy by KL and by update."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from rtt_lightning.comparison.measures import ACCURACIES
from rtt_lightning.comparison.tasks import FRONTIER
from rtt_lightning.functional.accuracy import RUBRIC
from rtt_lightning.reports.charts import Line, Point

ACROSS = {"kl_per_response": "KL to the start, nats per response", "update": "update"}


@dataclass(frozen=True)
class Chart:
    """A line per method: means over seeds.

    Attributes:
        title: Of the accuracy.
        across: What the places are.
        lines: In the order of methods.
    """

    title: str
    across: str
    lines: list[Line]


def charts(found: Mapping[str, Any]) -> list[Chart]:
    """Of what `rtt_lightning.comparison.measures.measure` found, with the frontier where it is known."""
    return [
        Chart(f"{label.capitalize()} accuracy", words, [*_frontier(found, metric, name), *_lines(found, metric, name)])
        for name, words in ACROSS.items()
        for metric, label in ACCURACIES.items()
    ]


def _lines(found: Mapping[str, Any], metric: str, across: str) -> list[Line]:
    return [
        Line(method, f"c{number % 8}", [Point(p[across], p[metric]) for p in points if not isnan(p[across])])
        for number, (method, points) in enumerate(found["points"].items())
    ]


def _frontier(found: Mapping[str, Any], metric: str, across: str) -> list[Line]:
    """The best that any policy could reach at a KL, up to the largest that is shown."""
    if metric != RUBRIC or across != "kl_per_response" or FRONTIER not in found:
        return []
    furthest = max(p[across] for points in found["points"].values() for p in points)
    start = found["start"][metric]
    near = [Point(kl, start + gain) for kl, gain in zip(*found[FRONTIER], strict=True) if kl <= furthest]
    return [Line(FRONTIER, "dashed", near)] if near else []
