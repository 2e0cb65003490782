"""Rules of letter case: no verdict for scripts without case."""

import re
from collections.abc import Sequence

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rules.grammar import SUBJECT, WHOLE, WRITTEN, reads
from rtt_lightning.verifiers.rules.rule import Occurrences, Phrasing, Read, decide_count, number, rule
from rtt_lightning.verifiers.rules.text import WORD, inside_word

SMALL_WORDS = frozenset(
    "a an and as at but by for from in into nor of on or over per so the to up via with yet".split()
)
"""Words that many keep lowercase in titles."""
_EACH = rf"(?:each|every) word(?: (?:of|in) {WHOLE})?"
_CAPITAL = r"(?:capital|uppercase|capitali[sz]ed)"


def _throughout(names: str) -> Read:
    """Reads that all letters must be of a case; "use capital letters" does not say for what."""
    names, entirely = rf"(?:{names})(?: letters?| case)?", r"(?:all|only|entirely|completely|fully)"
    return reads(
        rf"{SUBJECT}{WRITTEN}(?:appear )?(?:{entirely} )?in (?:{entirely} )*{names}(?: only| throughout)?",
        rf"{SUBJECT}{WRITTEN}(?:{entirely} )?(?:use |using )?(?:{entirely} )+{names}(?: only| throughout)?",
        rf"{SUBJECT}{WRITTEN}(?:{entirely} )?(?:use |using )?{names} (?:only|throughout)",
        rf"(?:all|every) (?:letters?|words?|text)(?: (?:of|in) {WHOLE})? (?:must|should) be "
        rf"(?:in )?(?:all )?{names}(?: only| throughout)?",
    )


@rule("global", read=_throughout("uppercase|upper case|upper-case|capital|caps|capitals|block capital"))
def uppercase(answer: str) -> Verdict:
    """Every letter is a capital."""
    return _cased(answer, [m.span() for m in re.finditer(r"\w", answer) if m[0].islower()], "small letters occur")


@rule(
    "local",
    Phrasing(("Write everything in lowercase letters.", "Do not use capital letters."), conflicts={"case"}),
    _throughout(r"lowercase|lower case|lower-case|small(?= letters?\b)"),
    polarity="negative",
)
def lowercase(answer: str) -> Verdict:
    """No capital letter occurs, but some letter does; in a script without capitals it is doubtful."""
    spans = tuple((i, i + 1) for i, letter in enumerate(answer) if letter.isupper() or letter.istitle())
    if spans or not any(map(str.isalpha, answer)):
        return Verdict(False, "a capital letter occurs" if spans else "no letters", spans)
    if not any(map(str.islower, answer)):
        return Verdict.unscorable("no letter has a capital form: met for some readers alone")
    return Verdict(True, "no capital letter", ())


@rule(
    "global",
    Phrasing(
        ("Write at least {n} words in ALL CAPITALS.", "Put {n} or more words in CAPITAL LETTERS."),
        number(1, 2),
        {"case"},
    ),
)
def capital_word(answer: str, n: int) -> Verdict:
    """At least ``n`` words of two or more letters are in capitals; such parts of longer words are doubtful."""
    found = [m for m in WORD.finditer(answer) if m[0].isupper() and sum(map(str.isalpha, m[0])) > 1]
    parts = [part for part in re.findall(r"[^\W_]+", answer) if len(part) > 1 and part.isupper()]
    dotted = re.findall(r"\b(?:[^\W\d_]\.){2,}", answer)
    most = len(parts) + sum(text.isupper() for text in dotted)
    certain = tuple(m.span() for m in found)
    return decide_count(Occurrences(certain, max(len(certain), most)), n, None, "words in capitals")


@rule(
    "global",
    read=reads(
        rf"{SUBJECT}use capitali[sz]ed letters (?:for|in|at the (?:start|beginning) of) {_EACH}",
        rf"{SUBJECT}(?:use|have) (?:an? )?{_CAPITAL} (?:first|initial) letters? (?:for|in|of) {_EACH}",
        rf"{SUBJECT}capitali[sz]e (?:the first letter of )?{_EACH}",
        rf"(?:the )?first letter of {_EACH} (?:must|should) be (?:a )?{_CAPITAL}(?: letter)?",
        rf"{_EACH} (?:must|should) (?:be capitali[sz]ed|(?:begin|start) with an? (?:capital|uppercase) letter)",
    ),
)
def capitalized(answer: str) -> Verdict:
    """Every word begins with a capital letter.

    In lowercase, small words of titles, later parts of joined words ("Well-known") and addresses are doubtful.
    """
    words = [m for m in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*", answer) if not inside_word(answer, m.start())]
    small = [m.span() for m in words if m[0][0].islower()]
    if small and all(_may_be_small(answer, span) for span in small):
        return Verdict.unscorable("only words that titles may keep small begin with small letters")
    return _cased(answer, small, "a word begins with a small letter")


def _may_be_small(answer: str, word: Span) -> bool:
    """Whether a title may keep a word lowercase: a small word, a later part of a joined one, or part of an address."""
    start, end = word
    joined = re.search(r"\S[-–/.:@'’]\Z", answer[max(start - 2, 0) : start])
    return answer[start:end] in SMALL_WORDS or bool(joined or re.match(r"\S*(?:://|@|\w\.\w)", answer[start:]))


def _cased(answer: str, violations: Sequence[Span], reason: str) -> Verdict:
    """Global: all letters decide."""
    if not any(map(str.isalpha, answer)):
        return Verdict(False, "no letters", ())
    if not any(letter.islower() or letter.isupper() or letter.istitle() for letter in answer):
        return Verdict.unscorable("no letter has a capital form: met for some readers alone")
    return Verdict(not violations, reason if violations else "no violation", ((0, len(answer)),))
