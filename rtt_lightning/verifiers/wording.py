"""Checkers of words, marks and case, and that of language, for constraints that people write in words.

Where a strict and a lenient reader would disagree (a keyword inside a longer word, a title with small words in small
letters) the criterion is unscorable.

| scope | polarity | kinds |
|---|---|---|
| global | | language, uppercase, capitalized |
| local | positive | keywords, keyword_count, mark_count, end_mark |
| local | negative | no_keywords, no_mark |
"""

import re
from collections.abc import Sequence

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.constraints import filled
from rtt_lightning.verifiers.language import language
from rtt_lightning.verifiers.words import inside_word, listed, literally, stands_alone

SMALL_WORDS = frozenset(
    "a an and as at but by for from in into nor of on or over per so the to up via with yet".split()
)
"""Words that many keep small in titles."""


def keywords(answer: str, words: Sequence[str]) -> Verdict:
    """Every one of the words occurs, in any case."""
    found = [_occurrences(answer, word) for word in listed(words)]
    missing = [word for word, (_, inside) in zip(words, found, strict=True) if not inside]
    if missing:
        return Verdict(False, f"missing: {', '.join(missing)}", ())
    doubtful = [word for word, (whole, _) in zip(words, found, strict=True) if not whole]
    if doubtful:
        return Verdict.unscorable(f"only inside longer words: {', '.join(doubtful)}")
    return Verdict(True, "found", tuple(sorted(span for whole, _ in found for span in whole)))


def no_keywords(answer: str, words: Sequence[str]) -> Verdict:
    """None of the words occurs, in any case."""
    found = [_occurrences(answer, word) for word in listed(words)]
    spans = tuple(sorted(span for whole, _ in found for span in whole))
    if spans:
        return Verdict(False, "a forbidden word occurs", spans)
    if any(inside for _, inside in found):
        return Verdict.unscorable("a forbidden word occurs, but only inside a longer one")
    return filled(answer, Verdict(True, "does not occur", ()))


def keyword_count(answer: str, word: str, low: int = 1, high: int | None = None) -> Verdict:
    """The word occurs from ``low`` to ``high`` times, in any case."""
    whole, inside = _occurrences(answer, word)
    return _counted(answer, repr(word), whole, inside, low, high)


def mark_count(answer: str, mark: str, low: int = 1, high: int | None = None) -> Verdict:
    """The punctuation mark occurs from ``low`` to ``high`` times."""
    spans = _marks(answer, mark)
    return _counted(answer, repr(mark), spans, spans, low, high)


def no_mark(answer: str, mark: str) -> Verdict:
    """The punctuation mark does not occur."""
    spans = _marks(answer, mark)
    return filled(answer, Verdict(not spans, f"{mark!r} occurs {len(spans)} times", spans))


def end_mark(answer: str, mark: str) -> Verdict:
    """The answer ends with the punctuation mark; behind it only quotation marks, brackets or asterisks are doubtful."""
    text = answer.rstrip()
    inner = text.rstrip("\"'”’)]*_`")
    equivalents = (mark, *OTHER_FORMS.get(mark, ()))
    if not inner.endswith(equivalents) or (mark == "." and inner.endswith("...")):
        return Verdict(False, f"does not end with {mark!r}", ())
    if inner != text:
        return Verdict.unscorable(f"{text[len(inner) :]!r} stands behind the {mark!r} at the end")
    return Verdict(True, "found", ((len(text) - 1, len(text)),))


def uppercase(answer: str) -> Verdict:
    """Every letter is a capital."""
    return _cased(answer, [m.span() for m in re.finditer(r"\w", answer) if m[0].islower()], "small letters occur")


def capitalized(answer: str) -> Verdict:
    """Every word begins with a capital letter.

    In small letters, small words of titles, later parts of joined words ("Well-known") and addresses are doubtful.
    """
    words = [m for m in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*", answer) if not inside_word(answer, m.start())]
    small = [m.span() for m in words if m[0][0].islower()]
    if small and all(_may_be_small(answer, span) for span in small):
        return Verdict.unscorable("only words that titles may keep small begin with small letters")
    return _cased(answer, small, "a word begins with a small letter")


def _occurrences(answer: str, word: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Where a word stands by itself, and where it stands at all. Chinese and Japanese set no spaces between words."""
    inside = tuple(match.span() for match in re.finditer(literally(word), answer, re.IGNORECASE))
    if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", word):
        return inside, inside
    return tuple(span for span in inside if stands_alone(answer, span)), inside


def _may_be_small(answer: str, word: Span) -> bool:
    """Whether a title may keep a word small: by itself, behind what it is joined to, or as part of an address."""
    start, end = word
    joined = re.search(r"\S[-–/.:@'’]\Z", answer[max(start - 2, 0) : start])
    return answer[start:end] in SMALL_WORDS or bool(joined or re.match(r"\S*(?:://|@|\w\.\w)", answer[start:]))


def _counted(
    answer: str, what: str, whole: tuple[Span, ...], inside: tuple[Span, ...], low: int, high: int | None
) -> Verdict:
    highest = float("inf") if high is None else high
    if low <= len(whole) and len(inside) <= highest:
        return filled(answer, Verdict(True, f"{what} occurs {len(whole)} times", whole))
    if len(inside) < low or len(whole) > highest:
        return Verdict(False, f"{what} occurs {len(whole)} times", whole if len(whole) > highest else ())
    return Verdict.unscorable(f"{what} occurs {len(whole)} times by itself, {len(inside)} times with longer words")


OTHER_FORMS = {
    ".": ("。", "।", "۔"),
    "!": ("！",),
    "?": ("？", "؟"),
    ",": ("，", "،"),
    ";": ("；", "؛"),
    ":": ("：",),
    "...": ("…",),
}
"""The same marks in Chinese, Japanese, Hindi, Arabic and Urdu."""


def _marks(answer: str, mark: str) -> tuple[Span, ...]:
    signs = "|".join(re.escape(sign) for sign in (mark, *OTHER_FORMS.get(mark, ())))
    return tuple(match.span() for match in re.finditer(signs, answer))


def _cased(answer: str, violations: Sequence[Span], reason: str) -> Verdict:
    """Global: all letters decide."""
    if not any(character.isalpha() for character in answer):
        return Verdict(False, "no letters", ())
    return Verdict(not violations, reason if violations else "no violation", ((0, len(answer)),))


WORDING = {
    f"rtt:{checker.__name__}": checker
    for checker in (
        keywords, no_keywords, keyword_count, mark_count, no_mark, end_mark, uppercase, capitalized, language
    )
}  # fmt: skip
