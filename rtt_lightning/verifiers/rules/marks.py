"""Rules of punctuation marks and numbers. Some readers see a mark as part of something else: it is then doubtful."""

import re

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rules.bounds import parse_bounds
from rtt_lightning.verifiers.rules.grammar import HAVE, NOT_HAVE, SUBJECT, WHOLE, reads
from rtt_lightning.verifiers.rules.rule import Arguments, Occurrences, Phrasing, decide_count, rule
from rtt_lightning.verifiers.rules.text import ADDRESS, characters_of, last_marks, stands_alone

OTHER_FORMS = {".": "。।۔．｡", "!": "！", "?": "？؟", ",": "，،、､", ";": "；؛", ":": "："}
"""The same marks in Chinese, Japanese, Hindi, Arabic and Urdu, and full-width."""
END = ".!?॥" + "".join(OTHER_FORMS[mark] for mark in ".!?")
"""Marks that end a sentence; for use in a character class."""
ELLIPSIS = "..."
ABBREVIATION = re.compile(
    r"(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Rev|Gen|Capt|Lt|Mt|vs|etc|e\.g|i\.e|a\.m|p\.m|No|Vol|pp|cf|al|Inc|Ltd|Co|Corp|Fig|"
    r"approx|Ph\.D|[IVX]+|(?:[^\W\d_]\.)*[^\W\d_])\.",
    re.IGNORECASE,
)
_LONGEST = 20
"""Most characters of an abbreviation that are read."""
NAMES = {
    "period": ".", "full stop": ".", "question mark": "?", "exclamation mark": "!", "exclamation point": "!",
    "comma": ",", "semicolon": ";", "semi-colon": ";", "colon": ":", "ellipsis": "...", "ellipses": "...",
}  # fmt: skip
_MARK = rf"({'|'.join(NAMES)})s?"


def _named(found: re.Match[str]) -> Arguments:
    return {"mark": NAMES[found[1].lower()]}


def _so_many(sentence: str) -> Arguments | None:
    bounds = parse_bounds(sentence, NAMES)
    return {"mark": bounds[0], **bounds[1]} if bounds else None


@rule("global", read=_so_many)
def mark_count(answer: str, mark: str, low: int = 1, high: int | None = None) -> Verdict:
    """The punctuation mark occurs from ``low`` to ``high`` times."""
    return decide_count(marks(answer, mark), low, high, f"times {mark!r}")


@rule("local", read=reads(rf"{SUBJECT}{HAVE} an? {_MARK}", arguments=_named))
def include_mark(answer: str, mark: str) -> Verdict:
    """The punctuation mark occurs."""
    return mark_count.checker(answer, mark)


@rule(
    "local",
    read=reads(
        rf"{NOT_HAVE} (?:any )?{_MARK}(?: anywhere)?",
        rf"{SUBJECT}{HAVE} no {_MARK}",
        rf"no {_MARK}(?: (?:are|is) allowed| (?:should|may|must) be used| at all)?",
        arguments=_named,
    ),
    polarity="negative",
)
def no_mark(answer: str, mark: str) -> Verdict:
    """The punctuation mark does not occur."""
    return mark_count.checker(answer, mark, 0, 0)


@rule("local", Phrasing(("Use an exclamation mark.", "Include at least one exclamation mark.")))
def exclamation(answer: str) -> Verdict:
    """An exclamation mark occurs."""
    return mark_count.checker(answer, "!")


@rule("local", Phrasing(("Ask a question in your answer.", "Include at least one question mark.")))
def question(answer: str) -> Verdict:
    """A question mark occurs."""
    return mark_count.checker(answer, "?")


@rule("local", Phrasing(("Do not use any commas.", "Write without commas.")), polarity="negative")
def no_commas(answer: str) -> Verdict:
    """No comma occurs; those within numbers are doubtful."""
    return mark_count.checker(answer, ",", 0, 0)


@rule(
    "local",
    read=reads(
        rf"(?:the )?(?:ending|final|last|closing|end) punctuation(?: mark)?(?: of {WHOLE})? "
        rf"(?:must|should|has to) be (?:an? )?{_MARK}",
        rf"{SUBJECT}(?:end|conclude|finish)s? with (?:an? )?{_MARK}",
        arguments=_named,
    ),
)
def end_mark(answer: str, mark: str) -> Verdict:
    """The answer ends with the punctuation mark; other marks beside it, and any symbols after it, are doubtful."""
    if span := _end(answer, mark):
        return Verdict(True, "found", (span,))
    if _among_last_marks(answer, mark):
        return Verdict.unscorable(f"{mark!r} is among the last marks, but not alone")
    return Verdict(False, f"does not end with {mark!r}", ())


@rule("local", Phrasing(("Include a number written in digits.", "Mention at least one number, such as 7.")))
def include_number(answer: str) -> Verdict:
    """A number in digits occurs; digits that number a list, or are in words or addresses, are doubtful."""
    hidden = characters_of(match.span() for match in ADDRESS.finditer(answer))
    found = [match.span() for match in re.finditer(r"\d+(?:[.,:]\d+)*", answer)]
    hidden |= characters_of(match.span(1) for match in re.finditer(r"^ *(\d+)[.)] ", answer, re.MULTILINE))
    certain = tuple(span for span in found if span[0] not in hidden and stands_alone(answer, span))
    return decide_count(Occurrences(certain, len(found)), 1, None, "numbers in digits")


def marks(answer: str, mark: str) -> Occurrences:
    """Occurrences of a mark in a plain text.

    Readers differ on those inside numbers, times, links and abbreviations, after the number of a list item, and in an
    ellipsis.
    """
    if mark == ELLIPSIS:
        runs = [match.span() for match in re.finditer(r"\.{2,}|…+", answer)]
        certain = tuple((a, b) for a, b in runs if answer[a:b] in (ELLIPSIS, "…"))
        return Occurrences(certain, sum(max(b - a, 3) // 3 if answer[a] == "." else b - a for a, b in runs))
    found = [match.span() for match in re.finditer(_forms(mark), answer)]
    addresses = characters_of(match.span() for match in ADDRESS.finditer(answer)) if found else ()
    certain = tuple(span for span in found if span[0] not in addresses and not _is_part(answer, span))
    return Occurrences(certain, len(found) + (answer.count("…") if mark == "." else 0))


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


def _end(answer: str, mark: str) -> Span | None:
    """Characters of the mark that ends an answer, if no other mark is next to it and only space after it."""
    text = answer.rstrip()
    forms = _forms(mark)
    pattern = {ELLIPSIS: r"(?P<last>\.{3}|…+)", ".": f"(?P<last>{forms})"}.get(mark, f"{forms}*(?P<last>{forms})")
    match = re.search(rf"(?<![{END}…]){pattern}\Z", text)
    return match.span("last") if match else None


def _among_last_marks(answer: str, mark: str) -> bool:
    """Whether a mark is among those after the last word."""
    pattern = {ELLIPSIS: r"\. ?\.|…", ".": f"{_forms(mark)}|…"}.get(mark, _forms(mark))
    return re.search(pattern, last_marks(answer)) is not None


def _forms(mark: str) -> str:
    """A pattern for a mark in all of its forms.

    Raises:
        ValueError: For a word, whose letters would count as marks.
    """
    if len(mark) != 1 and mark != ELLIPSIS:
        raise ValueError(f"mark must be one character, such as ',', or '...', got {mark!r}")
    return f"[{re.escape(mark + OTHER_FORMS.get(mark, ''))}]"
