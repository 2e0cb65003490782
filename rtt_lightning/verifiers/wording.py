"""Checkers of words, marks and case, and that of language, for constraints that people write in words.

Where a strict and a lenient reader would disagree (a keyword inside a longer word, a title with small words in small
letters, a stop in a number) the criterion is unscorable.

| scope | polarity | kinds |
|---|---|---|
| global | | language, uppercase, capitalized |
| global | counted | keyword_count, mark_count |
| local | positive | keywords, include_mark, end_mark |
| local | negative | no_keywords, no_mark |
"""

import re
from collections.abc import Sequence

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.language import language
from rtt_lightning.verifiers.marks import among_last_signs, end_of, marks
from rtt_lightning.verifiers.rule import by_id, counted, rule
from rtt_lightning.verifiers.words import all_of, inside_word, listed, occurrences

SMALL_WORDS = frozenset(
    "a an and as at but by for from in into nor of on or over per so the to up via with yet".split()
)
"""Words that many keep small in titles."""


@rule("local")
def keywords(answer: str, words: Sequence[str]) -> Verdict:
    """Every one of the words occurs, in any case."""
    return all_of({word: occurrences(answer, word, inside=True) for word in listed(words)})


@rule("local")
def no_keywords(answer: str, words: Sequence[str]) -> Verdict:
    """None of the words occurs, in any case."""
    found = [occurrences(answer, word, inside=True) for word in listed(words)]
    spans = tuple(sorted({span for where in found for span in where.certain}))
    if spans:
        return Verdict(False, "a forbidden word occurs", spans)
    if any(where.most for where in found):
        return Verdict.unscorable("a forbidden word occurs, but not by itself or not as written")
    return Verdict(True, "does not occur", ())


@rule("global")
def keyword_count(answer: str, word: str, low: int = 1, high: int | None = None) -> Verdict:
    """The word occurs from ``low`` to ``high`` times, in any case."""
    return counted(occurrences(answer, word, inside=True), low, high, f"times {word!r}")


@rule("local")
def include_mark(answer: str, mark: str) -> Verdict:
    """The punctuation mark occurs."""
    return counted(marks(answer, mark), 1, None, f"times {mark!r}")


@rule("global")
def mark_count(answer: str, mark: str, low: int = 1, high: int | None = None) -> Verdict:
    """The punctuation mark occurs from ``low`` to ``high`` times."""
    return counted(marks(answer, mark), low, high, f"times {mark!r}")


@rule("local")
def no_mark(answer: str, mark: str) -> Verdict:
    """The punctuation mark does not occur."""
    return counted(marks(answer, mark), 0, 0, f"times {mark!r}")


@rule("local")
def end_mark(answer: str, mark: str) -> Verdict:
    """The answer ends with the punctuation mark; other marks beside it, and any signs behind it, are doubtful."""
    if span := end_of(answer, mark):
        return Verdict(True, "found", (span,))
    if among_last_signs(answer, mark):
        return Verdict.unscorable(f"{mark!r} is among the last signs, but not alone")
    return Verdict(False, f"does not end with {mark!r}", ())


@rule("global")
def uppercase(answer: str) -> Verdict:
    """Every letter is a capital."""
    return _cased(answer, [m.span() for m in re.finditer(r"\w", answer) if m[0].islower()], "small letters occur")


@rule("global")
def capitalized(answer: str) -> Verdict:
    """Every word begins with a capital letter.

    In small letters, small words of titles, later parts of joined words ("Well-known") and addresses are doubtful.
    """
    words = [m for m in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*", answer) if not inside_word(answer, m.start())]
    small = [m.span() for m in words if m[0][0].islower()]
    if small and all(_may_be_small(answer, span) for span in small):
        return Verdict.unscorable("only words that titles may keep small begin with small letters")
    return _cased(answer, small, "a word begins with a small letter")


def _may_be_small(answer: str, word: Span) -> bool:
    """Whether a title may keep a word small: by itself, behind what it is joined to, or as part of an address."""
    start, end = word
    joined = re.search(r"\S[-–/.:@'’]\Z", answer[max(start - 2, 0) : start])
    return answer[start:end] in SMALL_WORDS or bool(joined or re.match(r"\S*(?:://|@|\w\.\w)", answer[start:]))


def _cased(answer: str, violations: Sequence[Span], reason: str) -> Verdict:
    """Global: all letters decide."""
    if not any(map(str.isalpha, answer)):
        return Verdict(False, "no letters", ())
    if not any(sign.islower() or sign.isupper() or sign.istitle() for sign in answer):
        return Verdict.unscorable("no letter has a capital form: met for some readers alone")
    return Verdict(not violations, reason if violations else "no violation", ((0, len(answer)),))


WORDING = by_id(
    keywords, no_keywords, keyword_count, include_mark, mark_count, no_mark, end_mark, uppercase, capitalized,
    rule("global")(language),
)  # fmt: skip
