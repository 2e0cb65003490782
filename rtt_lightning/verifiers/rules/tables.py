"""The rule of Markdown tables."""

import re

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rules.bounds import parse_bounds
from rtt_lightning.verifiers.rules.grammar import GIVEN, HAVE, SUBJECT, fits
from rtt_lightning.verifiers.rules.rule import Arguments, decide_length, decide_whole, rule
from rtt_lightning.verifiers.rules.text import characters_of, fences

Table = tuple[Span, int, int]
"""Characters, rows without the header, and columns."""


def _read(sentence: str) -> Arguments | None:
    if fits(
        sentence,
        rf"{SUBJECT}{HAVE} (?:an? )?(?:markdown )?table",
        rf"{SUBJECT}{GIVEN}(?:in|as) (?:an? )?(?:markdown )?(?:table|tabular)(?: format| form)?",
    ):
        return {}
    if not re.search(r"\btab(?:le|ular)\b", sentence, re.IGNORECASE):
        return None
    nouns = frozenset("table tables tabular data format with limit limited markdown that".split())
    optional = fits(sentence, r"(?:any|if)\b.*") is not None
    fillers = nouns | frozenset("any if is are used included present".split()) if optional else nouns
    bounds = parse_bounds(sentence, {"row": "rows", "column": "columns"}, fillers)
    if bounds is None:
        return None
    required = not optional and fits(sentence, rf"{SUBJECT}{HAVE} (?:an? )(?:markdown )?table .*") is not None
    unit, limits = bounds
    return {f"{name}_{unit}": count for name, count in limits.items()} | {"required": required}


@rule("local", read=_read)
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
        required: Whether an answer without a table is unmet; else it is unscorable: some readers say that it keeps a
            limit on "any table", some do not.
    """
    found, doubtful = _tables(answer)
    if not found:
        if doubtful:
            return Verdict.unscorable("a table in code, in HTML or without a line under its header")
        return (
            decide_whole(answer, False, "no table")
            if required
            else Verdict.unscorable("no table, and none is demanded")
        )
    verdicts = [
        verdict
        for _, rows, columns in found
        for verdict in (
            decide_length(answer, rows, rows + 1, low_rows, high_rows, "rows"),
            decide_length(answer, columns, columns, low_columns, high_columns, "columns"),
        )
    ]
    worst = min(verdicts, key=lambda verdict: {False: 0, None: 1, True: 2}[verdict.met])
    return Verdict(worst.met, worst.reason, None if worst.met is None else tuple(span for span, _, _ in found))


def _tables(answer: str) -> tuple[list[Table], bool]:
    """The tables of a plain text, and whether something else may be one: in code, in HTML, or without a line under its
    header.
    """
    code, found = characters_of(fences(answer)), _marked(answer)
    certain = [table for table in found if table[0][0] not in code]
    other = re.search(r"<table\b|^[^\n|]*\|[^\n]*\n[^\n|]*\|", answer, re.IGNORECASE | re.MULTILINE)
    return certain, len(certain) < len(found) or other is not None


def _marked(answer: str) -> list[Table]:
    lines, starts, position = answer.split("\n"), [], 0
    for line in lines:
        starts.append(position)
        position += len(line) + 1
    found, index = [], 1
    while index < len(lines):
        header = lines[index - 1]
        if "|" in header and "|" in lines[index] and _is_separator(lines[index]):
            end = index + 1
            while end < len(lines) and "|" in lines[end]:
                end += 1
            last = lines[end - 1].rstrip()
            found.append(((starts[index - 1], starts[end - 1] + len(last)), end - index - 1, len(_cells(header))))
            index = end
        index += 1
    return found


def _is_separator(line: str) -> bool:
    return all(re.fullmatch(r":?-+:?", cell.strip()) for cell in _cells(line))


def _cells(line: str) -> list[str]:
    """The cells of a row; its first and last pipe, and those after a backslash, do not separate cells."""
    return re.split(r"(?<!\\)\|", re.sub(r"^\||(?<!\\)\|$", "", line.strip()))
