"""Rules of words that a criterion names, and where they begin and end in a text.

With ``inside``, a word that occurs only in longer ones is doubtful: people who write criteria may mean it. The prompts
of the built-in sampler do not.
"""

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.rules.bounds import read_bounds
from rtt_lightning.verifiers.rules.grammar import (
    HAVE,
    LIST,
    LIST_OR,
    NOT_HAVE,
    QUOTED,
    SUBJECT,
    WHOLE,
    read_quoted,
    reads,
)
from rtt_lightning.verifiers.rules.rule import (
    Arguments,
    Occurrences,
    Phrasing,
    Spans,
    choice,
    decide_count,
    number,
    rule,
)
from rtt_lightning.verifiers.rules.text import WORD, folded, stands_alone

WORDS = tuple(
    """
    golden quiet ancient bright gentle sudden hidden famous simple strange careful distant modern clever humble
    morning window journey secret village garden shadow signal market bridge winter summer teacher doctor sister
    neighbour captain river forest island future history science music colour energy balance wonder promise
    reason together always never perhaps suddenly finally often beautiful important difficult different special
    little
    """.split()
)
FORBIDDEN = ("very", "people", "world", "many", "great", "life", "time", "also", "make", "good", "like", "used")
COMMON_WORDS = frozenset(
    "a an and are as at be but by can for from had has have he her his i in is it its not of on or our she so that "
    "the their there they this to was we were which who will with you your".split()
)
_NAMES = r"(?:key ?words?|words?|phrases?|terms?)"
_TIMES = (
    r"((?:exactly |at least |at most |no more than |up to |more than |fewer than |between ).*|"
    r"\d+ or (?:more|fewer|less) times|\d+ times or (?:more|fewer|less))"
)
_NAMED = rf"(?:the )?(?:following )?(?:exact )?(?:{_NAMES}:? )?"


def _listed(found: re.Match[str]) -> Arguments | None:
    words = read_quoted(found[1])
    return {"words": words} if words else None


def _so_often(found: re.Match[str]) -> Arguments | None:
    words = read_quoted(found["word"]) or ()
    bounds = read_bounds(re.sub(r"\bonce\b", "1 time", re.sub(r"\btwice\b", "2 times", found[2].lower())), "time")
    return {"word": words[0], **bounds} if len(words) == 1 and bounds else None


def _two_words(rng: random.Random, topic: str) -> Arguments:
    return {"words": rng.sample([word for word in WORDS if word != topic], 2)}


@rule(
    "global",
    read=reads(
        rf"{SUBJECT}{HAVE} (?:the )?(?:{_NAMES} )?(?P<word>{QUOTED}) {_TIMES}",
        rf"(?:the )?(?:{_NAMES} )?(?P<word>{QUOTED}) (?:must|should) (?:appear|occur|be used|be included) {_TIMES}",
        arguments=_so_often,
    ),
)
def keyword_count(answer: str, word: str, low: int = 1, high: int | None = None, inside: bool = True) -> Verdict:
    """The word occurs from ``low`` to ``high`` times, in any case."""
    return decide_count(occurrences(answer, word, inside), low, high, f"times {word!r}")


@rule(
    "local",
    Phrasing(("Use the word '{word}'.", "Include the word '{word}' in your answer."), choice("word", WORDS), {"word"}),
)
def include_word(answer: str, word: str) -> Verdict:
    """The word occurs, in any case."""
    return keyword_count.checker(answer, word, inside=False)


@rule(
    "local",
    Phrasing(("Do not use the word '{word}'.", "Avoid the word '{word}'."), choice("word", FORBIDDEN)),
    polarity="negative",
)
def forbid_word(answer: str, word: str) -> Verdict:
    """The word does not occur, in any case."""
    return keyword_count.checker(answer, word, 0, 0, inside=False)


@rule(
    "global",
    Phrasing(
        ("Use the word '{word}' at least {n} times.", "The word '{word}' must appear {n} times or more."),
        lambda rng, topic: {"word": topic, "n": rng.randint(2, 3)},
        {"topic"},
    ),
)
def word_count(answer: str, word: str, n: int) -> Verdict:
    """The word occurs at least ``n`` times."""
    return keyword_count.checker(answer, word, n, inside=False)


@rule(
    "local",
    Phrasing(
        ("Use the words '{words[0]}' and '{words[1]}'.", "Include both '{words[0]}' and '{words[1]}'."),
        _two_words,
        {"word"},
    ),
)
def include_words(answer: str, words: Sequence[str], inside: bool = False) -> Verdict:
    """Every one of the words occurs, in any case."""
    return decide_all({word: occurrences(answer, word, inside) for word in checked_words(words)})


@rule(
    "local",
    read=reads(
        rf"{SUBJECT}{HAVE} (?:(?:all|each|both) (?:of )?)?{_NAMED}({LIST})(?: {_NAMES})?(?: at least once)?",
        rf"(?:the )?{_NAMES} ({LIST}) (?:must|should) be (?:included|used|mentioned)(?: in {WHOLE})?",
        arguments=_listed,
    ),
)
def keywords(answer: str, words: Sequence[str]) -> Verdict:
    """Every one of the words occurs, in any case; inside longer ones they are doubtful."""
    return include_words.checker(answer, words, inside=True)


@rule(
    "local",
    read=reads(rf"{NOT_HAVE} (?:any of )?{_NAMED}({LIST_OR})(?: {_NAMES})?", arguments=_listed),
    polarity="negative",
)
def no_keywords(answer: str, words: Sequence[str]) -> Verdict:
    """None of the words occurs, in any case."""
    found = [occurrences(answer, word, inside=True) for word in checked_words(words)]
    spans = tuple(sorted({span for where in found for span in where.certain}))
    if spans:
        return Verdict(False, "a forbidden word occurs", spans)
    if any(where.most for where in found):
        return Verdict.unscorable("a forbidden word occurs, but not by itself or not as written")
    return Verdict(True, "does not occur", ())


@rule(
    "local",
    Phrasing(
        ("Do not repeat any word more than {n} times.", "No word may appear more than {n} times."),
        number(2, 3),
        {"topic"},
    ),
    polarity="negative",
)
def no_repetition(answer: str, n: int) -> Verdict:
    """No word but the most common ones occurs more than ``n`` times; the occurrences beyond are the violation.

    Where only parts of joined words do, it is doubtful.
    """
    seen: Counter[str] = Counter()
    spans = []
    for match in WORD.finditer(answer):
        word = match[0].lower()
        seen[word] += 1
        if seen[word] > n and word not in COMMON_WORDS:
            spans.append(match.span())
    parts = Counter(part for part in re.findall(r"\w{3,}", folded(answer)) if part not in COMMON_WORDS)
    most = max(len(spans), sum(max(count - n, 0) for count in parts.values()))
    return decide_count(Occurrences(tuple(spans), most), 0, 0, f"words beyond {n} times each")


_ALIKE = {"'": "['’]", "’": "['’]", '"': '["“”]', "“": '["“”]', "”": '["“”]', "-": "[-‐‑]", "…": r"(?:…|\.\.\.)"}
"""Patterns of punctuation that is written in several ways."""


def checked_words(words: Sequence[str]) -> Sequence[str]:
    """The words, unless they are wrong.

    Raises:
        TypeError: For a text, whose letters would count as words.
        ValueError: If there are none.
    """
    if isinstance(words, str):
        raise TypeError(f"words must be a list of words, got {words!r}")
    if not words:
        raise ValueError("words is empty; list at least one")
    return words


def literally(word: str) -> str:
    """A pattern that matches a word or phrase in a plain text, on one line or two, with composed or separate accents,
    and with straight or curly quotation marks.

    Raises:
        ValueError: If it is empty, which would occur everywhere.
    """
    if not word.strip():
        raise ValueError(f"got an empty word {word!r}; write the word that is meant")
    forms = dict.fromkeys(unicodedata.normalize(form, word) for form in ("NFC", "NFD"))
    patterns = (r"(?: *\n *| +)".join(_spellings(part) for part in form.split()) for form in forms)
    return f"(?:{'|'.join(patterns)})"


def occurrences(answer: str, word: str, inside: bool) -> Occurrences:
    """Occurrences of a word by itself in a plain text, in any case.

    The most lenient reader also finds it across blank lines, with invisible characters, in other forms of its
    characters, and with ``inside`` in longer words. Chinese and Japanese have no spaces between words.
    """
    spaced = not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", word)
    found: Spans = tuple(match.span() for match in re.finditer(literally(word), answer, re.IGNORECASE))
    certain = tuple(span for span in found if stands_alone(answer, span)) if spaced else found
    text, key = folded(answer), folded(word)
    lenient = [(match.start(), match.end()) for match in re.finditer(re.escape(key), text)] if key else []
    alone = [span for span in lenient if inside or not spaced or stands_alone(text, span)]
    return Occurrences(certain, max(len(alone), len(certain), len(found) if inside else 0))


def decide_all(found: Mapping[str, Occurrences]) -> Verdict:
    """The verdict on words that must all occur."""
    missing = [word for word, where in found.items() if not where.most]
    if missing:
        return Verdict(False, f"missing: {', '.join(missing)}", ())
    doubtful = [word for word, where in found.items() if not where.certain]
    if doubtful:
        return Verdict.unscorable(f"not by itself, or not as written: {', '.join(doubtful)}")
    return Verdict(True, "found", tuple(sorted({span for where in found.values() for span in where.certain})))


def _spellings(part: str) -> str:
    return "".join(_ALIKE.get(character, re.escape(character)) for character in part.replace("...", "…"))
