"""Punctuation marks in an answer: which there are for every reader, and which are part of something else to some."""

import re

from rtt_lightning.types import Span
from rtt_lightning.verifiers.rule import Found
from rtt_lightning.verifiers.text import ADDRESS, last_signs, places

OTHER_FORMS = {
    ".": "。।۔．｡",
    "!": "！",
    "?": "？؟",
    ",": "，،、､",
    ";": "；؛",
    ":": "：",
}
"""The same marks in Chinese, Japanese, Hindi, Arabic and Urdu, and as wide as those."""
END = ".!?॥" + "".join(OTHER_FORMS[mark] for mark in ".!?")
"""Marks that end a sentence; for use within a class of characters."""
ELLIPSIS = "..."
ABBREVIATION = re.compile(
    r"(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Rev|Gen|Capt|Lt|Mt|vs|etc|e\.g|i\.e|a\.m|p\.m|No|Vol|pp|cf|al|Inc|Ltd|Co|Corp|Fig|"
    r"approx|Ph\.D|[IVX]+|(?:[^\W\d_]\.)*[^\W\d_])\.",
    re.IGNORECASE,
)
_LONGEST = 20
"""Characters of an abbreviation that are looked at."""


def marks(answer: str, mark: str) -> Found:
    """Where a mark stands in a plain text.

    Readers differ on those inside numbers, times, links and abbreviations, behind the number of a list item, and on the
    stops of an ellipsis.
    """
    if mark == ELLIPSIS:
        runs = [match.span() for match in re.finditer(r"\.{2,}|…+", answer)]
        certain = tuple((a, b) for a, b in runs if answer[a:b] in (ELLIPSIS, "…"))
        return Found(certain, sum(max(b - a, 3) // 3 if answer[a] == "." else b - a for a, b in runs))
    found = [match.span() for match in re.finditer(_forms(mark), answer)]
    addresses = places(match.span() for match in ADDRESS.finditer(answer)) if found else ()
    certain = tuple(span for span in found if span[0] not in addresses and not _is_part(answer, span))
    return Found(certain, len(found) + (answer.count("…") if mark == "." else 0))


def is_abbreviation(answer: str, end: int) -> bool:
    """Whether the word that ends here, with its stop, is an abbreviation."""
    last = re.split(r"[\s(\"'“‘*_\[]", answer[max(end - _LONGEST, 0) : end])[-1]
    return ABBREVIATION.fullmatch(last) is not None


def _is_part(answer: str, span: Span) -> bool:
    """Whether a mark may belong to something larger: 3.50, 10:30, e.g., !=, :)"""
    start, end = span
    mark, before, after = answer[start], answer[start - 1 : start] if start else "", answer[end : end + 1]
    if (before.isdigit() and after.isdigit()) or (mark in "!:" and after == "="):
        return True
    if mark in ":;" and not before.strip() and after and after in "()DP":
        return True
    if mark == ";":
        return re.search(r"&#?\w+\Z", answer[max(start - _LONGEST, 0) : start]) is not None
    if mark != ".":
        return False
    joined = before.isalnum() and after.isalnum()
    line = "\n" * (start < _LONGEST) + answer[max(start - _LONGEST, 0) : start]
    listing = re.search(r"\n *\d+\Z", line) is not None
    return joined or listing or "." in (before, after) or is_abbreviation(answer, end)


def end_of(answer: str, mark: str) -> Span | None:
    """Where the mark stands that ends an answer, if no other one stands at it and nothing but space behind."""
    text = answer.rstrip()
    forms = _forms(mark)
    pattern = {ELLIPSIS: r"(?P<last>\.{3}|…+)", ".": f"(?P<last>{forms})"}.get(mark, f"{forms}*(?P<last>{forms})")
    match = re.search(rf"(?<![{END}…]){pattern}\Z", text)
    return match.span("last") if match else None


def among_last_signs(answer: str, mark: str) -> bool:
    """Whether a mark stands among the signs behind the last word."""
    pattern = {ELLIPSIS: r"\. ?\.|…", ".": f"{_forms(mark)}|…"}.get(mark, _forms(mark))
    return re.search(pattern, last_signs(answer)) is not None


def _forms(mark: str) -> str:
    """A pattern of a mark in all of its forms."""
    return f"[{re.escape(mark + OTHER_FORMS.get(mark, ''))}]"
