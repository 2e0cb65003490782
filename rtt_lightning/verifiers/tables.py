"""Markdown tables in a text."""

import re
from dataclasses import dataclass

from rtt_lightning.types import Span
from rtt_lightning.verifiers.text import fences, places


@dataclass(frozen=True)
class Tables:
    """Tables of a text.

    Attributes:
        certain: Characters, rows without the header, and columns of each table.
        doubtful: Whether something else may be one: in a block of code, in HTML, or without a line under its header.
    """

    certain: list[tuple[Span, int, int]]
    doubtful: bool


def tables(answer: str) -> Tables:
    """The Markdown tables of a plain text."""
    code, found = places(fences(answer)), _tables(answer)
    certain = [table for table in found if table[0][0] not in code]
    other = re.search(r"<table\b|^[^\n|]*\|[^\n]*\n[^\n|]*\|", answer, re.IGNORECASE | re.MULTILINE)
    return Tables(certain, len(certain) < len(found) or other is not None)


def _tables(answer: str) -> list[tuple[Span, int, int]]:
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
    """Of a row; its first and last pipe part nothing, nor do those behind a backslash."""
    return re.split(r"(?<!\\)\|", re.sub(r"^\||(?<!\\)\|$", "", line.strip()))
