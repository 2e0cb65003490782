"""HTML and SVG pieces of the report: style, tables, line charts, coloured tokens; they escape given texts."""

import math
from collections.abc import Callable, Sequence
from html import escape

from rtt_lightning.types import Span

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1d232b; --muted: #5d6875; --line: #dde1e7;
  --teal: 13 148 136; --blue: 37 99 205; --orange: 217 95 2; }
@media (prefers-color-scheme: dark) { :root { --page: #12151a; --card: #1b2027; --ink: #e4e8ed; --muted: #98a3b0;
  --line: #313944; --teal: 45 190 175; --blue: 96 156 255; --orange: 245 140 50; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: auto; padding: 2rem 1rem 4rem; }
h1 { margin: 0 0 .4rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.6rem 0 .3rem; font-size: 1.3rem; }
p { margin: .3rem 0 .9rem; max-width: 75ch; }
.note, figcaption, .empty { color: var(--muted); font-size: .88rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem;
  margin: 0 0 .9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.grid { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.pair { display: grid; gap: 1.2rem; grid-template-columns: 1fr 1fr; }
.grid .card, .heads .card { margin: 0; } .heads { gap: .9rem; }
.big { font-size: 1.7rem; font-weight: 650; line-height: 1.3; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--muted); font-weight: 500; font-size: .88rem; }
tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
td:last-child { white-space: normal; } td:last-child small { white-space: nowrap; }
td small { color: var(--muted); display: inline-block; }
figure { display: flex; flex-direction: column; justify-content: space-between; }
figcaption { margin-bottom: .3rem; } figcaption b { color: var(--ink); font-weight: 600; }
svg { display: block; width: 100%; overflow: visible; }
svg text { fill: var(--muted); font: 11px system-ui, sans-serif; }
.rule { stroke: var(--line); } .raw, .trend { fill: none; stroke: rgb(var(--blue)); stroke-linejoin: round; }
.raw { stroke-opacity: .35; } .trend { stroke-width: 2.2; } .hit { fill: rgb(var(--blue)); fill-opacity: 0; }
.hit:hover { fill-opacity: 1; }
.up { stroke: rgb(var(--blue)); fill: rgb(var(--blue)); }
.down { stroke: rgb(var(--orange)); fill: rgb(var(--orange)); }
.calm { stroke: rgb(var(--teal)); fill: rgb(var(--teal)); } .dashed { stroke: var(--muted); stroke-dasharray: 3 4; }
.c0 { --c: var(--blue); } .c1 { --c: var(--orange); } .c2 { --c: var(--teal); } .c3 { --c: 168 85 200; }
.c4 { --c: 202 138 4; } .c5 { --c: 219 39 119; } .c6 { --c: 101 163 13; } .c7 { --c: 120 113 108; }
.c0, .c1, .c2, .c3, .c4, .c5, .c6, .c7 { stroke: rgb(var(--c)); fill: rgb(var(--c)); }
polyline.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1rem; } .key::before { content: ""; display: inline-block;
  width: 1rem; border-top: 3px solid; margin-right: .35rem; vertical-align: middle; }
.key.up::before { border-color: rgb(var(--blue)); } .key.down::before { border-color: rgb(var(--orange)); }
.key[class*=" c"]::before { border-color: rgb(var(--c)); }
.key.calm::before { border-color: rgb(var(--teal)); } .key.dashed::before { border-top: 2px dashed; }
.start { stroke: var(--muted); fill: var(--card); stroke-width: 2; }
.dots { width: min(30vw, 15rem); margin: 0 .3rem; }
.text { white-space: pre-wrap; margin: .2rem 0 .7rem; max-height: 24rem; overflow: auto; }
.quiet { color: var(--muted); } .label { font-size: .88rem; font-weight: 600; margin: 0; max-width: none; }
.verdicts { list-style: none; margin: 0 0 .5rem; padding: 0; font-size: .88rem; } .pair .note { margin: .2rem 0; }
.met, .unmet, .open { font-weight: 700; }
.met { color: rgb(var(--blue)); } .unmet { color: rgb(var(--orange)); } .open { color: var(--muted); }
.tokens span { border-radius: 3px; padding: .1em 0; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
.r { background: rgb(var(--teal) / var(--a)); } .p { background: rgb(var(--blue) / var(--a)); }
.n { background: rgb(var(--orange) / var(--a)); }
.legend { display: flex; align-items: center; gap: .5rem; flex-wrap: wrap; }
.legend i { width: 9rem; height: .8rem; border-radius: 3px; border: 1px solid var(--line); }
.sequential { background: linear-gradient(90deg, transparent, rgb(var(--teal) / .7)); }
.diverging { background: linear-gradient(90deg, rgb(var(--orange) / .7), transparent, rgb(var(--blue) / .7)); }
summary { cursor: pointer; font-weight: 600; margin-bottom: .4rem; }
@media (max-width: 640px) { .pair { grid-template-columns: 1fr; } main { padding-top: 1.2rem; }
  .card { padding: .7rem .8rem; } th, td { padding: .35rem .2rem; font-size: .84rem; }
  th:first-child, td:first-child { min-width: 6rem; } }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 170, 44, 10, 8, 34
STRONGEST = 0.7
"""Opacity of the strongest token colour; text stays readable on it in light and dark."""

NOT_RECORDED = '<p class="empty">not recorded</p>'

Paint = Callable[[float], tuple[str, float]]
"""From a value to its CSS class and strength in [0, 1]."""


def html_page(title: str, body: str) -> str:
    """A whole document, which may neither load nor run anything."""
    return PAGE.format(title=escape(title), style=STYLE, body=body)


def section(title: str, note: str, body: str) -> str:
    """A heading, one or two sentences, and HTML."""
    return f'<section>\n<h2>{escape(title)}</h2>\n<p class="note">{escape(note)}</p>\n{body}\n</section>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already, the first column left-aligned."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="card scroll"><table>\n<tr>{top}</tr>\n{body}\n</table></div>'


def dots(before: float, after: float) -> str:
    """Two shares on a line from 0 to 1, ring to dot."""
    kind = "up" if after >= before else "down"
    start, end = (f"{100 * value:.1f}%" for value in (before, after))
    return (
        '<svg height="16" role="img" aria-hidden="true"><line class="rule" x1="0" x2="100%" y1="8" y2="8"/>'
        f'<line class="{kind}" stroke-width="3" x1="{start}" x2="{end}" y1="8" y2="8"/>'
        f'<circle class="start" cx="{start}" cy="8" r="4"/><circle class="{kind}" cx="{end}" cy="8" r="4.5"/></svg>'
    )


def line_chart(title: str, note: str, points: Sequence[tuple[float, float]]) -> str:
    """One chart: (step, value) points as a thin line, their running mean as a thick one, values as tooltips."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    ticks = round_ticks(min(values), max(values))
    span = max(steps[-1] - steps[0], 1)

    def place(step: float, value: float) -> tuple[float, float]:
        across, up = (step - steps[0]) / span, (value - ticks[0]) / (ticks[-1] - ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def path(heights: Sequence[float]) -> str:
        placed = (place(*point) for point in zip(steps, heights, strict=True))
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)

    parts = []
    for tick in ticks:
        y = place(steps[0], tick)[1]
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for step, anchor in {steps[0]: "start", steps[-1]: "end"}.items():
        x = place(step, ticks[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{step:g}</text>')
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">optimiser step</text>')
    parts.append(f'<polyline class="raw" points="{path(values)}"/>')
    parts.append(f'<polyline class="trend" points="{path(running_mean(values))}"/>')
    for step, value in points:
        x, y = place(step, value)
        tip = f"<title>step {step:g}: {value:.4g}</title>"
        parts.append(f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="4">{tip}</circle>')
    caption = f"<figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>"
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="card">{caption}{drawing}</figure>'


def round_ticks(low: float, high: float) -> list[float]:
    """Three to six round values around a range."""
    spacing = (high - low or abs(high) or 1.0) / 3
    magnitude = 10.0 ** math.floor(math.log10(spacing))
    unit = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= spacing * (1 - 1e-9))
    first = math.floor(low / unit + 1e-9)
    last = max(math.ceil(high / unit - 1e-9), first + 1)
    return [number * unit for number in range(first, last + 1)]


def running_mean(values: Sequence[float]) -> list[float]:
    """Mean over a centred window of about a quarter of the values, narrower at the ends."""
    half = len(values) // 8
    windows = (values[max(i - half, 0) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def merge_tokens(offsets: Sequence[Span]) -> list[tuple[Span, list[int]]]:
    """Tokens in runs that share no character with each other: (characters, token numbers) each.

    Tokens of one multi-byte character are one run. Example: offsets ((0, 2), (2, 3), (2, 3), (3, 3))
    -> ((0, 2), [0]), ((2, 3), [1, 2]), ((3, 3), [3]).
    """
    runs: list[tuple[Span, list[int]]] = []
    for number, (start, end) in enumerate(offsets):
        if runs and start < runs[-1][0][1]:
            (first, last), members = runs[-1]
            runs[-1] = (first, max(last, end)), [*members, number]
        else:
            runs.append(((start, end), [number]))
    return runs


def paint_tokens(text: str, offsets: Sequence[Span], values: Sequence[float], paint: Paint, form: str) -> str:
    """The text with each token coloured by its value; merged tokens show their mean, textless ones a square."""
    parts, shown = [], 0
    for (start, end), members in merge_tokens(offsets):
        parts.append(escape(text[shown:start]))
        value = sum(values[number] for number in members) / len(members)
        name, strength = paint(value)
        tip = f"{value:{form}}" + (f" (mean of {len(members)} tokens)" if len(members) > 1 else "")
        tip += "" if start < end else " (a token without text, such as end of sequence)"
        style = f"--a:{STRONGEST * min(max(strength, 0.0), 1.0):.2f}"
        parts.append(f'<span class="{name}" style="{style}" title="{tip}">{escape(text[start:end]) or "∎"}</span>')
        shown = max(shown, end)
    return f'<div class="text tokens">{"".join(parts)}{escape(text[shown:])}</div>'
