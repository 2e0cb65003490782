"""Words that a criterion names: as patterns, and where they begin and end in a text."""

import re
import unicodedata
from collections.abc import Sequence

from rtt_lightning.types import Span


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
    """A pattern that matches a word or phrase, with either apostrophe.

    Raises:
        ValueError: If it is empty, as it would occur everywhere.
    """
    if not word.strip():
        raise ValueError(f"got an empty word {word!r}; write the word that is meant")
    return re.sub("['’]", "['’]", re.escape(word))


def inside_word(answer: str, position: int) -> bool:
    """Whether the characters on both sides belong to a word; vowel signs and accents go with what they stand behind."""
    if not 0 < position < len(answer):
        return False
    before = position - 1
    while before and _is_sign(answer[before]):
        before -= 1
    return _is_sign(answer[position]) or bool(re.match(r"\w\w", answer[before] + answer[position]))


def stands_alone(answer: str, span: Span) -> bool:
    """Whether no word goes on at either end."""
    return not any(inside_word(answer, end) for end in span)


def _is_sign(character: str) -> bool:
    """But for selectors, which only say how an emoji is drawn."""
    return unicodedata.category(character).startswith("M") and not "\ufe00" <= character <= "\ufe0f"
