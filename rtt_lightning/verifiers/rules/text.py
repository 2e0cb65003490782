"""An answer as readers see it: line ends, spaces, forms of characters, and Markdown."""

import html
import re
import unicodedata
from collections.abc import Iterable

from rtt_lightning.types import Span

_SPACES = "\t\x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_LINE_ENDS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_PLAIN = str.maketrans(_SPACES + _LINE_ENDS, " " * len(_SPACES) + "\n" * len(_LINE_ENDS))
_SAME = str.maketrans("‘’ʼ‛“”„‟‐‑‒–—−", "''''\"\"\"\"------")

WORD = re.compile(r"\w+(?:['’-]\w+)*")
CLOSERS = "\"'”’»›)\\]}*_`~」』）】"
"""Characters that may follow the end of a sentence and belong to it; for use in a character class."""
ADDRESS = re.compile(r"\b(?:https?://|www\.)\S+|(?<!\S)(?:[^\s@]+@\w\S*|[\w.-]+\.\w+/\S*)|`[^`\n]+`")
"""Links, mail addresses and code, whose characters many readers count neither as punctuation nor as words."""
_FENCE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[^`\n]*\n.*?(?:^ {0,3}(?P=fence)[`~]* *$|\Z)", re.DOTALL | re.MULTILINE
)
_MARKUP = re.compile(r"\*+|`+|~~|__|</?[a-zA-Z][^<>\n]*>")
_RULE = re.compile(r" *(?P<mark>[-*_])(?: *(?P=mark)){2,} *")


def plain(text: str) -> str:
    """The text, of the same length, with lines that end in ``\\n`` and other white space as spaces."""
    return text.replace("\r\n", " \n").translate(_PLAIN)


def is_blank(text: str) -> bool:
    """Whether nothing can be seen of it: white space, and characters without a width."""
    return not any(not character.isspace() and unicodedata.category(character) != "Cf" for character in text)


def folded(text: str) -> str:
    """The text for the most lenient reader: as it looks when Markdown and HTML are rendered, without letter case and
    invisible characters, with one form of each character (full-width, composed or curly). Its length may differ.
    """
    text = _MARKUP.sub("", html.unescape(text)).replace("_", " ").casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_SAME)).casefold())
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return " ".join(text.split())


def last_marks(text: str) -> str:
    """The text after the last letter or digit."""
    match = re.search(r"[^\W_]", text[::-1])
    return text[len(text) - match.start() :] if match else text


def fences(text: str) -> list[Span]:
    """Blocks of code between fences, in a plain text."""
    return [match.span() for match in _FENCE.finditer(text)]


def is_rule(line: str) -> bool:
    """Whether a line is a horizontal rule in Markdown, such as ``---`` or ``* * *``."""
    return _RULE.fullmatch(line) is not None


def characters_of(spans: Iterable[Span]) -> frozenset[int]:
    """The positions of all characters of the spans."""
    return frozenset(place for start, end in spans for place in range(start, end))


def inside_word(answer: str, position: int) -> bool:
    """Whether the characters on both sides belong to one word; vowel signs and accents belong to what they follow."""
    if not 0 < position < len(answer):
        return False
    before = position - 1
    while before and is_combining(answer[before]):
        before -= 1
    return is_combining(answer[position]) or bool(re.match(r"\w\w", answer[before] + answer[position]))


def stands_alone(answer: str, span: Span) -> bool:
    """Whether a span is not part of a longer word."""
    return not any(inside_word(answer, end) for end in span)


def is_combining(character: str) -> bool:
    """Whether a character combines with the one before; not selectors, which only style emoji."""
    return unicodedata.category(character).startswith("M") and not "\ufe00" <= character <= "\ufe0f"
