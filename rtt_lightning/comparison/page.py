"""The page of a comparison: who gains most at an equal KL, the curves, the table, kinds of criteria, how runs went."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rtt_lightning.comparison.lines import Chart, charts
from rtt_lightning.comparison.measures import ACCURACIES
from rtt_lightning.comparison.tables import NOTE, left_out_note
from rtt_lightning.comparison.words import (
    LAST,
    at_kl,
    frontier_note,
    p_value,
    rows,
    seeds,
    share,
    signed,
    tripped,
    without_kl,
)
from rtt_lightning.functional.accuracy import RUBRIC
from rtt_lightning.reports.charts import shares_chart
from rtt_lightning.reports.markup import html_page, html_table, round_ticks, section
from rtt_lightning.runtime.terminal import three_decimals


def page(found: Mapping[str, Mapping[str, Any]], title: str, baseline: str, left_out: Sequence[str]) -> str:
    """The page of what `rtt_lightning.comparison.measures.measure` found on each model.

    Args:
        found: By model; the only one may be without a name.
        title: In plain text.
        baseline: The method that others are compared with.
        left_out: Names of runs that are not complete.
    """
    notes = "".join(f"<p>{escape(words)}</p>\n" for words in (NOTE, *left_out_note(left_out)))
    parts = [f"<h1>{escape(title)}</h1>\n{notes}"]
    for model, of_model in found.items():
        parts += [f"<h1>{escape(model)}</h1>"] if model else []
        parts += [_heads(of_model, baseline), _curves(of_model), _gains(of_model, baseline)]
        parts += [_guards(of_model), _kinds(of_model["kinds"]), _training(of_model)]
    return html_page(title, "\n".join(parts))


def _heads(found: Mapping[str, Any], baseline: str) -> str:
    """A card per method: its rubric-level gain, at an equal KL if that is known; the greatest first."""
    by_method = (found["at_kl"] or found["last"])["all"][RUBRIC]
    at = f"at {found['kl']:.1f} nats per response" if found["at_kl"] else LAST
    cards = []
    for method, each in sorted(by_method.items(), key=lambda item: -item[1]["gain"]["mean"]):
        apart = each.get("difference")
        said = "the baseline" if method == baseline else f"{baseline} does not get so far"
        said = f"{signed(apart)} beyond {baseline}, {p_value(apart)}" if apart else said
        alarm = tripped(found, method)
        number = f"{each['gain']['mean']:+.3f}".replace("-", "−")
        cards.append(
            f'<div class="card"><p class="label">{escape(method)}</p><div class="big">{number}</div>'
            f'<span class="note">rubric-level gain {at}; {escape(said)}</span>'
            f"{f'<br><b class=unmet>{escape(alarm)}</b>' if alarm else ''}</div>"
        )
    return f'<div class="grid heads">{"".join(cards)}</div>'


def _gains(found: Mapping[str, Any], baseline: str) -> str:
    tables = []
    head = ["", *(part for name in ACCURACIES.values() for part in (name, "gain", f"less that of {baseline}"))]
    equal = {at_kl(found): found["at_kl"]} if found["at_kl"] else {}
    for when, by_split in (equal | {LAST: found["last"]}).items():
        for split, by_metric in by_split.items():
            rows = [
                (escape(method), *(cell for metric in ACCURACIES for cell in _cells(by_metric[metric].get(method))))
                for method in found["points"]
            ]
            tables.append(
                f'<p class="label">{escape(f"{split[0].upper()}{split[1:]}, {when}")}</p>{html_table(head, rows)}'
            )
    note = frontier_note(found) if found["at_kl"] else without_kl(found)
    return section("Gains", f"Over {seeds(found)}. {note}", "\n".join(tables))


def _cells(found: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if found is None:
        return "–", "not reached", ""
    apart = found.get("difference")
    difference = f"{_interval(apart)}<br><small>{escape(p_value(apart))}</small>" if apart else ""
    return share(found["accuracy"]), _interval(found["gain"]), difference


def _interval(estimate: Mapping[str, float]) -> str:
    value, _, interval = signed(estimate).partition(" ")
    return f"{value}<br><small>{interval}</small>"


def _curves(found: Mapping[str, Any]) -> str:
    note = (
        "Means over seeds at each evaluation; point at one for its number. Dashed: what the best policy of that KL "
        "could reach."
    )
    return section("Curves", note, f'<div class="grid">{"".join(_chart(chart) for chart in charts(found))}</div>')


def _chart(chart: Chart) -> str:
    points = [point for line in chart.lines for point in line.points]
    ticks = round_ticks(min(p.across for p in points), max(p.across for p in points))
    heights = round_ticks(min(p.mean for p in points), max(p.mean for p in points))
    named = {tick: f"{tick:g}" for tick in ticks}
    return shares_chart(chart.title, "", chart.lines, named, chart.across, "accuracy", [round(h, 10) for h in heights])


def _guards(found: Mapping[str, Any]) -> str:
    note = "What training changed that nobody asked for, after the last update, in runs that go beyond a limit."
    rows = [
        f"<li><b>{escape(run)}</b> {escape('; '.join(why))}</li>"
        for runs in found["tripped"].values()
        for run, why in runs.items()
    ]
    return section("Guards", note, f'<ul class="card verdicts">{"".join(rows)}</ul>' if rows else "<p>No run does.</p>")


def _kinds(kinds: Mapping[str, Mapping[str, float]]) -> str:
    head = ("kind", *next(iter(kinds.values())))
    rows = [(escape(kind), *(three_decimals(value) for value in row.values())) for kind, row in kinds.items()]
    return section(
        "By kind of criterion", "Share as desired after the last update, hardest first.", html_table(head, rows)
    )


def _training(found: Mapping[str, Any]) -> str:
    note = "Of responses after the last update; of training, over its last quarter (times: all of it)."
    head, each = rows(found)
    return section("Responses and training", note, html_table(head, [[escape(cell) for cell in row] for row in each]))
