"""Which tokens decide each criterion, on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from rtt_lightning.reports.completions import FAINT, GREAT, MARKS
from rtt_lightning.reports.pieces import TEXTLESS, Piece, decides, inside, pieces, said, threshold, visible
from rtt_lightning.rollout.explained import Explained
from rtt_lightning.types import Criterion, Span, Verdict

LONGEST, AROUND = 600, 60
"""Characters of a text that is shown whole; of a longer response, those around each relevant token."""
EXTREMES = 3
"""Tokens with the most and with the least credit that are named."""


def print_explanation(explained: Sequence[Explained]) -> None:
    """Print each response, and again per criterion, its relevant tokens coloured, or in ⟦brackets⟧ without colours."""
    console = Console(highlight=False)
    for each in explained:
        item = each.item
        console.rule(Text(visible(f"row {each.row}, prompt {item.sample.id}, sample {item.rollout.sample_index}")))
        console.print(Text(_begin(item.sample.asked), "bold"))
        _print_within(console, Text(_begin(item.rollout.text)))
        console.print(Text(f"relevance {each.relevance_from}; advantage {each.advantages_from}", "dim"))
        shown = pieces(item.rollout)
        for number, decision in enumerate(item.decisions):
            _print_criterion(console, each, shown, number, *decision)
        if item.advantages is not None:
            _print_credit(console, each, shown, item.advantages)
        console.print()


def _begin(text: str) -> str:
    return visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _print_criterion(
    console: Console, each: Explained, shown: Sequence[Piece], number: int, criterion: Criterion, verdict: Verdict
) -> None:
    relevance, values = (each.item.relevance or ())[number], inside(each.item, number)
    mark, colour = MARKS[verdict.as_desired(criterion)]
    console.print(Text.assemble("\n", (f"{mark} ", colour), (f"{number + 1}. {visible(criterion.label)}", "bold")))
    _print_within(console, Text(said(criterion, verdict)))
    _print_within(console, Text(decides(values, verdict), "dim"))
    if (bound := threshold(values)) is not None:
        relevant = [(piece.start, piece.end) for piece in shown if piece.inside and piece.mean(relevance) >= bound]
        style = f"bold underline {colour}"
        _print_within(console, marked(visible(each.item.rollout.text), relevant, style, not _colours(console)))


def _print_credit(console: Console, each: Explained, shown: Sequence[Piece], advantages: Sequence[float]) -> None:
    """The response coloured by advantage, and the tokens with the most and the least."""
    text, values = visible(each.item.rollout.text), [round(piece.mean(advantages), 3) + 0.0 for piece in shown]
    if not values:
        return
    order = sorted(range(len(values)), key=values.__getitem__)
    console.print(Text.assemble("\nadvantage ", (f"mean {round(sum(values) / len(values), 3) + 0.0:+.3f}", "bold")))
    for name, numbers in (("most", order[: -EXTREMES - 1 : -1]), ("least", order[:EXTREMES])):
        tokens = (text[shown[n].start : shown[n].end].strip() or TEXTLESS for n in numbers)
        named = (f"‘{token}’ {values[n]:+.3f}" for token, n in zip(tokens, numbers, strict=True))
        _print_within(console, Text(f"{name}: {', '.join(named)}"))
    if _colours(console):
        greatest, coloured = max(map(abs, values)), Text(text)
        for piece, value in zip(shown, values, strict=True):
            share = abs(value) / greatest if greatest else 0.0
            if share >= FAINT:
                style = f"{'bold ' if share >= GREAT else ''}{'green' if value > 0 else 'red'}"
                coloured.stylize(style, piece.start, piece.end)
        _print_within(console, coloured[:LONGEST])


def marked(text: str, spans: Sequence[Span], style: str, brackets: bool) -> Text:
    """A text with some of its characters styled, or in brackets as well; a long one is cut to what is around them.

    Args:
        text: Visible.
        spans: Ordered, without overlap; neighbours are marked together, but for white space at their ends.
        style: Of `rich`.
        brackets: Put ⟦ and ⟧ around them.
    """
    found, before = Text(), 0
    spans = [_stripped(text, span) for span in _joined(spans)]
    for first, last in _excerpts(len(text), spans):
        found.append("" if first == 0 else " … " if before else "… ")
        place = first
        for start, end in (span for span in spans if first <= span[0] < last):
            found.append(text[place:start])
            found.append(f"⟦{text[start:end]}⟧" if brackets else text[start:end], style)
            place = end
        found.append(text[place:last])
        before = last
    return found.append(" …" if before < len(text) else "")


def _excerpts(length: int, spans: Sequence[Span]) -> list[Span]:
    """What is shown of a text: all, or the surroundings of the spans, up to about `LONGEST` characters."""
    if length <= LONGEST:
        return [(0, length)]
    around = _joined([(max(0, start - AROUND), min(length, end + AROUND)) for start, end in spans])
    return [span for number, span in enumerate(around) if sum(b - a for a, b in around[:number]) < LONGEST]


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Ordered spans, those that touch or overlap as one."""
    found = list[Span]()
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _stripped(text: str, span: Span) -> Span:
    """The span without white space at its ends, if there is anything else in it."""
    inner = text[slice(*span)].strip()
    start = span[0] + text[slice(*span)].find(inner)
    return (start, start + len(inner)) if inner else span


def _print_within(console: Console, text: Text) -> None:
    console.print(Padding(text, (0, 0, 0, 3), expand=False))


def _colours(console: Console) -> bool:
    return console.is_terminal and not console.no_color
