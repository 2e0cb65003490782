"""Checkers of structure: tables, headings, lists and bold text, for constraints that people write in words.

Where readers differ (is the header a row of a table? is a list in a block of code a list?) a count is a range, as in
`rtt_lightning.verifiers.counts`: the criterion is met or not where all readers agree, else unscorable.
"""

import re
from collections.abc import Iterator

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rule import Found, by_id, counted, measured, rule, whole
from rtt_lightning.verifiers.tables import tables
from rtt_lightning.verifiers.text import fences, is_rule, places

HEADING = re.compile(r"^ {0,3}(?P<signs>#{1,6}) +(?P<title>\S.*)$", re.MULTILINE)
UNDERLINED = re.compile(r"^(?P<title>[^\n]*)\n {0,3}(?P<sign>=+|-+) *$", re.MULTILINE)


@rule("local")
def table(
    answer: str,
    low_rows: int = 0,
    high_rows: int | None = None,
    low_columns: int = 0,
    high_columns: int | None = None,
    required: bool | None = True,
) -> Verdict:
    """A Markdown table with so many rows and columns; the header may count as a row.

    Args:
        answer: The answer.
        low_rows: Fewest rows of each table.
        high_rows: Most rows; null for no limit.
        low_columns: Fewest columns.
        high_columns: Most columns; null for no limit.
        required: Whether an answer without a table is unmet; else it is unscorable: some take a limit on "any table" as
            kept without one, some do not.
    """
    found = tables(answer)
    if not found.certain:
        if found.doubtful:
            return Verdict.unscorable("a table in code, in HTML or without a line under its header")
        return whole(answer, False, "no table") if required else Verdict.unscorable("no table, and none is demanded")
    verdicts = [
        verdict
        for _, rows, columns in found.certain
        for verdict in (
            measured(answer, rows, rows + 1, low_rows, high_rows, "rows"),
            measured(answer, columns, columns, low_columns, high_columns, "columns"),
        )
    ]
    worst = min(verdicts, key=lambda verdict: {False: 0, None: 1, True: 2}[verdict.met])
    return Verdict(worst.met, worst.reason, None if worst.met is None else tuple(span for span, _, _ in found.certain))


@rule("local")
def heading(answer: str, level: int, title: str | None = None, low: int = 1, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` Markdown headings of a level (and with a title, in any case)."""
    found = [h for h in _headings(answer) if h[1] == level and (title is None or _same(h[2], title))]
    certain = tuple(span for span, _, _, doubtful in found if not doubtful)
    return counted(Found(certain, len(found)), low, high, "such headings")


@rule("local")
def heading_levels(answer: str, low: int = 1, high: int = 6) -> Verdict:
    """All Markdown headings are of levels from ``low`` to ``high``; an answer without any is doubtful."""
    found = list(_headings(answer))
    wrong = [h for h in found if not low <= h[1] <= high]
    if certain := tuple(span for span, _, _, doubtful in wrong if not doubtful):
        return Verdict(False, "a heading of another level", certain)
    right = tuple(span for span, _, _, doubtful in found if not doubtful)
    if wrong or not right:
        return Verdict.unscorable("no certain heading, and the constraint does not say whether there must be one")
    return Verdict(True, f"{len(right)} headings", right)


@rule("global")
def bullets(answer: str, low: int = 1, high: int | None = None, only: bool = False) -> Verdict:
    """From ``low`` to ``high`` list items that begin with "-", "*", "+" or "•"; numbered ones may count as well.

    With ``only``, other text is doubtful, but for the indented lines by which an item goes on.
    """
    marked = list_items(answer, "-*+•")
    numbered = re.findall(r"^ *\d+[.)] +\S", answer, re.MULTILINE)
    verdict = counted(Found(marked.certain, marked.most + len(numbered)), low, high, "list items")
    lines = (line for line in answer.split("\n") if line.strip() and (not line.startswith(" ") or is_rule(line)))
    if only and verdict.met and any(is_rule(line) or not re.match(r"[-*+•] |\d+[.)] ", line) for line in lines):
        return Verdict.unscorable("text stands outside the list")
    return verdict


@rule("local")
def bold(answer: str) -> Verdict:
    """Some text is in bold, as **this** or __this__; in code, in HTML or over the end of a line it is doubtful."""
    code = places([*fences(answer), *(m.span() for m in re.finditer(r"`[^`\n]+`", answer))])
    marked = re.finditer(r"(?P<sign>\*{2,3}|__)(?=[^\s*_])(?:(?!\*\*|__).)*(?<=\S)(?P=sign)", answer)
    spans = [m.span() for m in marked]
    certain = tuple(span for span in spans if span[0] not in code)
    other = re.search(r"<(?:b|strong)\b|(?<!\*)\*\*(?=\w)[^\n*]*\n[^\n*]+\*\*", answer, re.IGNORECASE)
    return counted(Found(certain, len(spans) + (other is not None)), 1, None, "texts in bold")


def list_items(answer: str, signs: str) -> Found:
    """Lines that one of the signs makes an item, with something behind it; in fences some count them."""
    code = places(fences(answer))
    lines = re.finditer(rf"^ *(?P<item>[{re.escape(signs)}] +\S.*)$", answer, re.MULTILINE)
    found = [(m.start("item"), m.start("item") + len(m["item"].rstrip())) for m in lines if not is_rule(m[0])]
    return Found(tuple(span for span in found if span[0] not in code), len(found))


def _headings(answer: str) -> Iterator[tuple[Span, int, str, bool]]:
    """Characters, level and title of each heading, and whether it is doubtful: underlined, or a comment in code."""
    code = places(fences(answer))
    for match in HEADING.finditer(answer):
        title, start = match["title"].rstrip(), match.start("title")
        open_end = title.rstrip("#")
        title = open_end.rstrip() if not open_end or open_end.endswith(" ") else title  # a # at the end may close it
        if title:
            yield (match.start("signs"), start + len(title)), len(match["signs"]), title, match.start("signs") in code
    for match in UNDERLINED.finditer(answer):
        title = match["title"]
        if re.search(r"\w", title) and not re.match(r" *(?:#|[-*+•>|] |\d+[.)] )", title):
            yield match.span(), 1 if match["sign"][0] == "=" else 2, title, True


def _same(found: str, title: str) -> bool:
    def plain(text: str) -> str:
        return re.sub(r"[*_`\"'“”‘’:]", "", text).strip().casefold()

    return plain(found) == plain(title)


STRUCTURE = by_id(table, heading, heading_levels, bullets, bold)
