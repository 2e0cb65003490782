"""Charts of shares: several lines in one, with intervals; they escape given texts."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import isnan, nan
from typing import NamedTuple

from rtt_lightning.reports.markup import HEIGHT, LEFT, RIGHT, TOP, WIDTH

DOWN = 40
"""Room below for two lines of text."""
UP = HEIGHT + 60 - DOWN
"""Height of the lower edge: these charts are taller than those of a run's curves."""


class Point(NamedTuple):
    """Of a line: a place across, a share, its interval (NaN for none), and more words for people."""

    across: float
    mean: float
    low: float = nan
    high: float = nan
    note: str = ""


class Line(NamedTuple):
    """A line of a chart. ``kind`` is its CSS class: ``up``, ``down``, ``calm``, ``c0`` to ``c7`` for lines of equal
    rank, or ``dashed``, which has no points.
    """

    name: str
    kind: str
    points: Sequence[Point]


def shares_chart(
    title: str,
    note: str,
    lines: Sequence[Line],
    ticks: Mapping[float, str],
    across: str,
    upwards: str,
    heights: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
) -> str:
    """One chart of shares.

    Args:
        title: In bold, before the note.
        note: What is to be seen.
        lines: Each with an entry in the legend.
        ticks: Words at places across; the first and the last place are the edges.
        across: What the places are.
        upwards: What the shares are of.
        heights: Shares that are marked; the first and the last are the edges.
    """
    first, *_, last = ticks

    def x(value: float) -> float:
        return LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return UP - (share - heights[0]) / (heights[-1] - heights[0]) * (UP - TOP)

    parts = [
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:g}</text>'
        for share in heights
    ]
    parts += [
        f'<text x="{x(place):.1f}" y="{UP + 16}" text-anchor="middle">{escape(word)}</text>'
        for place, word in ticks.items()
    ]
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{UP + 33}" text-anchor="middle">{escape(across)}</text>')
    for line in lines:
        points = [point for point in line.points if not isnan(point.mean)]
        path = " ".join(f"{x(point.across):.1f},{y(point.mean):.1f}" for point in points)
        parts.append(f'<polyline class="line {line.kind}" points="{path}"/>')
        parts += [_marked(line, point, x(point.across), y) for point in points if line.kind != "dashed"]
    names = "".join(f'<span class="key {line.kind}">{escape(line.name)}</span>' for line in lines)
    label = escape(f"{title}: {upwards} by {across}")
    return (
        f'<figure class="card"><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {UP + DOWN}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f'<div class="keys note">{names}</div></figure>'
    )


def _marked(line: Line, point: Point, x: float, y: Callable[[float], float]) -> str:
    """A point with its interval; its numbers show when it is pointed at."""
    known = not isnan(point.low)
    interval = f" ({point.low:.3f} to {point.high:.3f})" if known else ""
    tip = escape(f"{line.name}: {point.mean:.3f}{interval}{point.note}")
    bar = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>' if known else ""
    dot = f'<circle cx="{x:.1f}" cy="{y(point.mean):.1f}" r="3.2"/>'
    return f'<g class="{line.kind}">{bar}{dot}<title>{tip}</title></g>'
