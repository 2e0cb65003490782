"""The page about a discriminator: its metrics, how far its relevance can be taken at its word, and faithfulness."""

from collections.abc import Mapping
from html import escape
from math import isnan
from typing import Any

from rtt_lightning.functional.quality import CONSTANT, is_constant
from rtt_lightning.reports.charts import Line, Point, shares_chart
from rtt_lightning.reports.evaluation import shown
from rtt_lightning.reports.markup import html_page, html_table, section
from rtt_lightning.reports.quality import CHANCE, GROUPS, LABELS, PER_CELL, POOLED
from rtt_lightning.rollout.faithfulness import RANDOM
from rtt_lightning.rollout.weighed import DISCRIMINATOR, SPANS
from rtt_lightning.runtime.terminal import counted, three_decimals

NOTES = {
    PER_CELL: "each mixed cell a ranking of its own, mean over cells; what credit within a response depends on",
    CHANCE: "random rankings of the same cells",
    POOLED: "all tokens of mixed cells as one ranking",
    "base_rate": "relevant tokens in mixed cells: what a random pooled ranking reaches",
    "f1": "all tokens, p above 0.5",
    "brier": "all tokens, mean of (p − label)²; 0 is best",
    "calibration_error": "all tokens, distance of p from the share of relevant tokens; 0 is best",
}
KINDS = {DISCRIMINATOR: "up", SPANS: "calm", RANDOM: "down"}
"""Colours of the sources in a chart."""


def quality_page(found: Mapping[str, Any], faithful: Mapping[str, Any], title: str) -> str:
    """The page.

    Args:
        found: The result of `rtt_lightning.reports.quality.measure`.
        faithful: That of `rtt_lightning.rollout.faithfulness.faithfulness`, if it was tested.
        title: In plain text.
    """
    overall = found["overall"]
    parts = [_head(overall, title), _metrics(overall), _calibration(found), _groups(found)]
    parts += [_faithfulness(faithful)] if faithful else []
    return html_page(title, "\n".join(parts))


def _head(overall: Mapping[str, Any], title: str) -> str:
    cells, prompts = counted(overall["cells"], "cell"), counted(overall["prompts"], "prompt")
    words = (
        f"{cells} (a response and a criterion each) of {prompts}, {overall['tokens']:,} tokens. "
        f"{overall['mixed_cells']} cells are mixed: they hold relevant and other tokens. Intervals are at 95 %, by "
        "bootstrap over prompts."
    )
    alarm = ""
    if is_constant(overall[PER_CELL]["mean"], overall[CHANCE]["mean"]):
        alarm = f'<p class="card"><b class="unmet">Warning</b> {escape(CONSTANT)}</p>'
    return f"<h1>{escape(title)}</h1>\n<p>{escape(words)}</p>\n{alarm}"


def _metrics(overall: Mapping[str, Any]) -> str:
    rows = [
        (f"{escape(label.strip().capitalize())} <small>{escape(NOTES[name])}</small>", _number(overall[name]))
        for name, label in LABELS.items()
    ]
    return section("Metrics", "docs/metrics.md says what a bad value of each means.", html_table(("", "value"), rows))


def _calibration(found: Mapping[str, Any]) -> str:
    groups = {"all": found["overall"], **found["scopes"]}
    charts = [_reliability(name, group) for name, group in groups.items()]
    note = (
        "Of the tokens with about this p, how many are relevant? On the diagonal p can be taken at its word; below it, "
        "p is too high. A point is one of ten bins; point at it for its number of tokens."
    )
    head = ("p", "mean p", "relevant", "tokens")
    rows = [
        (f"{low / 10:.1f} to {low / 10 + 0.1:.1f}", *(three_decimals(row[k]) for k in ("p", "relevant")), _count(row))
        for low, row in enumerate(found["overall"]["reliability"])
    ]
    return section("Calibration", note, f'<div class="grid">{"".join(charts)}</div>\n<br>{html_table(head, rows)}')


def _count(row: Mapping[str, float]) -> str:
    return f"{row['tokens']:,.0f}"


def _reliability(name: str, group: Mapping[str, Any]) -> str:
    points = [
        Point(row["p"], row["relevant"], note=f" of {_count(row)} tokens with a mean p of {row['p']:.3f}")
        for row in group["reliability"]
        if row["tokens"]
    ]
    diagonal = Line("calibrated", "dashed", [Point(0, 0), Point(1, 1)])
    note = f"error {three_decimals(group['calibration_error']['mean'])}, {counted(group['cells'], 'cell')}"
    ticks = {0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1: "1"}
    return shares_chart(name, note, [diagonal, Line("relevant", "up", points)], ticks, "p", "relevant tokens")


def _groups(found: Mapping[str, Any]) -> str:
    head = ("", "cells", "mixed", "AP per cell", "by chance", "AP pooled", "base rate", "F1", "Brier", "calibration")
    tables = []
    for division, name in GROUPS.items():
        groups = found.get(division, {}).items()
        rows = [(escape(f"{each} kinds" if division == "trained" else each), *_row(group)) for each, group in groups]
        if rows:
            tables.append(f'<p class="label">{escape(name.capitalize())}</p>{html_table(head, rows)}')
    note = "A dash where nothing was measured: without mixed cells there is nothing to rank."
    return section("By group", note, "\n".join(tables))


def _row(group: Mapping[str, Any]) -> list[str]:
    others = [three_decimals(group[name]["mean"]) for name in LABELS if name != PER_CELL]
    return [str(group["cells"]), str(group["mixed_cells"]), _number(group[PER_CELL]), *others]


def _faithfulness(faithful: Mapping[str, Any]) -> str:
    note = (
        "A test without labels: a verifier decides what is left of answers. Deletion: how often does the verdict flip "
        "without the most relevant words? Insertion: how often is the criterion still met with these alone? Local "
        "criteria that are met and ask for something, for deletion also those that are not met and forbid something."
    )
    charts = [
        _curves(faithful, name, what)
        for name, what in (("deletion", "verdicts that flip"), ("insertion", "criteria still met"))
        if name in faithful
    ]
    if not charts:
        return section("Faithfulness", note, '<p class="empty">no cell could be tested: none is decided by words</p>')
    return section("Faithfulness", note, f'<div class="grid">{"".join(charts)}</div>')


def _curves(faithful: Mapping[str, Any], name: str, what: str) -> str:
    own, shares = faithful[name], faithful["shares"]
    lines = [
        Line(source, KINDS.get(source, "calm"), [Point(i, **point) for i, point in enumerate(its["curve"])])
        for source, its in own["sources"].items()
    ]
    areas = "; ".join(
        f"{source} {shown(its['area'])} above random" for source, its in own["sources"].items() if source != RANDOM
    )
    ticks = {float(i): f"{share:.0%}".replace("%", " %") for i, share in enumerate(shares)}
    note = f"{what}; {counted(own['cells'], 'cell')}. Area: {areas}"
    words = f"words {'left out' if name == 'deletion' else 'kept'}"
    return shares_chart(name.capitalize(), note, lines, ticks, words, what)


def _number(interval: Mapping[str, float]) -> str:
    value, low, high = (three_decimals(interval[name]) for name in ("mean", "low", "high"))
    return value if isnan(interval["low"]) else f"{value} <small>{low} to {high}</small>"
