"""Words that a criterion names: where they begin and end in a text, and who finds them there."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rule import Found, Spans
from rtt_lightning.verifiers.text import folded

_ALIKE = {"'": "['’]", "’": "['’]", '"': '["“”]', "“": '["“”]', "”": '["“”]', "-": "[-‐‑]", "…": r"(?:…|\.\.\.)"}
"""Signs that are written in several ways."""


def listed(words: Sequence[str]) -> Sequence[str]:
    """The words, as given.

    Raises:
        TypeError: For a text, whose letters would be taken for words.
        ValueError: If there are none.
    """
    if isinstance(words, str):
        raise TypeError(f"words must be a list of words, got {words!r}")
    if not words:
        raise ValueError("words is empty; list at least one")
    return words


def literally(word: str) -> str:
    """A pattern that matches a word or phrase in a plain text, its parts on one line or two, with accents as characters
    of their own or not, and with straight or curly quotation marks.

    Raises:
        ValueError: If it is empty, as it would occur everywhere.
    """
    if not word.strip():
        raise ValueError(f"got an empty word {word!r}; write the word that is meant")
    forms = dict.fromkeys(unicodedata.normalize(form, word) for form in ("NFC", "NFD"))
    patterns = (r"(?: *\n *| +)".join(_signs(part) for part in form.split()) for form in forms)
    return f"(?:{'|'.join(patterns)})"


def occurrences(answer: str, word: str, inside: bool) -> Found:
    """Where a word stands by itself in a plain text, in any case.

    The most lenient reader finds it over blank lines, with invisible characters and in other forms of its characters
    too; and ``inside`` longer words. Chinese and Japanese set no spaces between words.
    """
    spaced = not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", word)
    found: Spans = tuple(match.span() for match in re.finditer(literally(word), answer, re.IGNORECASE))
    certain = tuple(span for span in found if stands_alone(answer, span)) if spaced else found
    text, key = folded(answer), folded(word)
    lenient = [(match.start(), match.end()) for match in re.finditer(re.escape(key), text)] if key else []
    alone = [span for span in lenient if inside or not spaced or stands_alone(text, span)]
    return Found(certain, max(len(alone), len(certain), len(found) if inside else 0))


def all_of(found: Mapping[str, Found]) -> Verdict:
    """The verdict on words each of which is to occur."""
    missing = [word for word, where in found.items() if not where.most]
    if missing:
        return Verdict(False, f"missing: {', '.join(missing)}", ())
    doubtful = [word for word, where in found.items() if not where.certain]
    if doubtful:
        return Verdict.unscorable(f"not by itself, or not as written: {', '.join(doubtful)}")
    return Verdict(True, "found", tuple(sorted({span for where in found.values() for span in where.certain})))


def inside_word(answer: str, position: int) -> bool:
    """Whether the characters on both sides belong to a word; vowel signs and accents go with what they stand behind."""
    if not 0 < position < len(answer):
        return False
    before = position - 1
    while before and is_sign(answer[before]):
        before -= 1
    return is_sign(answer[position]) or bool(re.match(r"\w\w", answer[before] + answer[position]))


def stands_alone(answer: str, span: Span) -> bool:
    """Whether no word goes on at either end."""
    return not any(inside_word(answer, end) for end in span)


def _signs(part: str) -> str:
    return "".join(_ALIKE.get(character, re.escape(character)) for character in part.replace("...", "…"))


def is_sign(character: str) -> bool:
    """But for selectors, which only say how an emoji is drawn."""
    return unicodedata.category(character).startswith("M") and not "\ufe00" <= character <= "\ufe0f"
