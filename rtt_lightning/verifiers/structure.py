"""Checkers of structure: JSON, XML, tables, headings and lists, for constraints that people write in words.

Where readers differ (is the header a row of a table? does one object nest one level or none?) a count is a range, as in
`rtt_lightning.verifiers.counts`: the criterion is met or not where all readers agree, else unscorable.
"""

import json
import re
from typing import Any
from xml.parsers import expat

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.constraints import filled, whole
from rtt_lightning.verifiers.counts import within

FENCE = re.compile(r"\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
SEPARATOR = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
KINDS = {"object": dict, "array": list}
"""Types of JSON values by their names."""
DEEPEST = 100
"""Levels of nesting that are followed."""


def is_json(answer: str, low: int = 0, high: int | None = None, kind: str | None = None) -> Verdict:
    """The answer is JSON, by itself or in one fence, with ``low`` to ``high`` levels of objects within each other.

    One object counts as one level or none. ``kind`` is "object" or "array" where it must be that.

    Raises:
        ValueError: For another kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind of JSON must be one of {', '.join(KINDS)}, got {kind!r}")
    try:
        value = json.loads(_unfenced(answer))
    except (json.JSONDecodeError, RecursionError) as error:
        return whole(answer, False, f"not JSON: {error}")
    if kind is not None and not isinstance(value, KINDS[kind]):
        return whole(answer, False, f"JSON, but no {kind}")
    if not isinstance(value, dict | list):
        return Verdict.unscorable("a single JSON value, neither object nor list")
    if (low, high) == (0, None):
        return whole(answer, True, "JSON")
    depth = _depth(value)
    return within(answer, max(depth - 1, 0), depth, low, high, "levels")


def is_xml(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """The answer is well-formed XML, by itself or in one fence, with ``low`` to ``high`` attributes.

    They may be counted per element or all together. Entities of its own are not expanded.
    """
    counts: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: counts.append(len(attributes))
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(_unfenced(answer).strip().encode("utf-8", "replace"), True)
    except (expat.ExpatError, ValueError) as error:
        return whole(answer, False, f"not XML: {error}")
    if (low, high) == (0, None):
        return whole(answer, True, "XML")
    return within(answer, max(counts), sum(counts), low, high, "attributes")


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
        required: What an answer without a table is: unmet, met if false, unscorable if null.
    """
    tables = _tables(answer)
    if not tables:
        if required is None:
            return Verdict.unscorable("no table, and the constraint does not say whether there must be one")
        return whole(answer, not required, "no table")
    verdicts = [
        verdict
        for _, rows, columns in tables
        for verdict in (
            within(answer, rows, rows + 1, low_rows, high_rows, "rows"),
            within(answer, columns, columns, low_columns, high_columns, "columns"),
        )
    ]
    worst = min(verdicts, key=lambda verdict: {False: 0, None: 1, True: 2}[verdict.met])
    spans = tuple(span for span, _, _ in tables)
    return Verdict(worst.met, worst.reason, None if worst.met is None else spans)


def heading(answer: str, level: int, title: str | None = None, low: int = 1, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` Markdown headings of a level (and with a title, in any case)."""
    found = [m for m in _headings(answer) if len(m[1]) == level and (title is None or _same(m[2], title))]
    spans = tuple(match.span() for match in found)
    met = low <= len(spans) and (high is None or len(spans) <= high)
    return Verdict(met, f"{len(spans)} such headings", spans if spans else ())


def heading_levels(answer: str, low: int = 1, high: int = 6) -> Verdict:
    """All Markdown headings are of levels from ``low`` to ``high``; an answer without any is doubtful."""
    found = _headings(answer)
    wrong = tuple(match.span() for match in found if not low <= len(match[1]) <= high)
    if wrong:
        return Verdict(False, "a heading of another level", wrong)
    if not found:
        doubt = "no heading, and the constraint does not say whether there must be one"
        return filled(answer, Verdict.unscorable(doubt))
    return Verdict(True, f"{len(found)} headings", tuple(match.span() for match in found))


def bullets(answer: str, low: int = 1, high: int | None = None, only: bool = False) -> Verdict:
    """From ``low`` to ``high`` list items that begin with "-", "*", "+" or "•"; numbered ones may count as well.

    With ``only``, other text is doubtful, but for the indented lines by which an item goes on.
    """
    marked = [m.span() for m in re.finditer(r"^[ \t]*[-*+•][ \t]+\S.*$", answer, re.MULTILINE)]
    numbered = re.findall(r"^[ \t]*\d+[.)][ \t]+\S", answer, re.MULTILINE)
    verdict = within(answer, len(marked), len(marked) + len(numbered), low, high, "list items")
    if only and verdict.met and re.search(r"^(?![-*+•][ \t]|\d+[.)][ \t])\S", answer, re.MULTILINE):
        return Verdict.unscorable("text stands outside the list")
    return Verdict(verdict.met, verdict.reason, None if verdict.met is None else tuple(marked))


def bold(answer: str) -> Verdict:
    """Some text is in bold, as **this** or __this__."""
    spans = tuple(m.span() for m in re.finditer(r"(\*\*|__)(?=\S)(?:(?!\1).)+?(?<=\S)\1", answer))
    return Verdict(bool(spans), "found" if spans else "nothing in bold", spans)


def _unfenced(answer: str) -> str:
    fenced = FENCE.fullmatch(answer)
    return fenced[1] if fenced else answer


def _depth(value: Any, depth: int = 0) -> int:
    """Objects within each other; lists between them count as nothing."""
    if depth > DEEPEST or not isinstance(value, dict | list):
        return depth
    children, own = (value.values(), 1) if isinstance(value, dict) else (value, 0)
    return max((_depth(child, depth + own) for child in children), default=depth + own)


def _refuse_entities(*_: Any) -> None:
    raise ValueError("it declares entities of its own")


def _tables(answer: str) -> list[tuple[Span, int, int]]:
    """Characters, rows without the header, and columns of each Markdown table."""
    lines, starts, position = answer.split("\n"), [], 0
    for line in lines:
        starts.append(position)
        position += len(line) + 1
    found, index = [], 1
    while index < len(lines):
        header = lines[index - 1]
        if "|" in header and "|" in lines[index] and SEPARATOR.fullmatch(lines[index]):
            end = index + 1
            while end < len(lines) and "|" in lines[end]:
                end += 1
            cells = re.split(r"(?<!\\)\|", header.strip().strip("|"))
            found.append(((starts[index - 1], starts[end - 1] + len(lines[end - 1])), end - index - 1, len(cells)))
            index = end
        index += 1
    return found


def _headings(answer: str) -> list[re.Match[str]]:
    """Outside code fences, where a # begins a comment."""
    code = [match.span() for match in re.finditer(r"^```.*?(?:^```|\Z)", answer, re.DOTALL | re.MULTILINE)]
    return [m for m in HEADING.finditer(answer) if not any(a <= m.start() < b for a, b in code)]


def _same(found: str, title: str) -> bool:
    def plain(text: str) -> str:
        return re.sub(r"[*_`\"'“”‘’:]", "", text).strip().casefold()

    return plain(found) == plain(title)


STRUCTURE = {
    f"rtt:{checker.__name__}": checker
    for checker in (is_json, is_xml, table, heading, heading_levels, bullets, bold)
}  # fmt: skip
