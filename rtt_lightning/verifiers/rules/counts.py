"""Rules of lengths: how many words, sentences or paragraphs an answer has.

People count differently: is "well-known" one word, does a heading count as a paragraph? So each count is a range, from
the lowest to the highest that a reasonable reader gets. A criterion is met if the whole range is allowed, not met if
none of it is, and unscorable otherwise: a reader's choice must not earn reward.
"""

import random
import re
from dataclasses import dataclass

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.rules.bounds import read_bounds
from rtt_lightning.verifiers.rules.marks import END, is_abbreviation
from rtt_lightning.verifiers.rules.rule import Arguments, Phrasing, decide_length, decide_whole, number, rule
from rtt_lightning.verifiers.rules.text import CLOSERS, WORD, fences, is_rule

CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Chinese and Japanese characters; each counts as a word."""
MARKER = re.compile(r"^ *(?:[-*+•]|\d+[.)]|#{1,6}|>) +", re.MULTILINE)
"""What begins a list item, a heading or a quotation."""
SENTENCE_END = re.compile(rf"(?<![.!?…])[.!?…]+[{CLOSERS}]*(?=\s|$)|[{END.strip('.!?')}]+[{CLOSERS}]*")
JOINED_END = re.compile(r"(?<=[^\W\d_A-Z]{2})[.!?](?=[A-Z])")
"""An end without a space after it, for some readers."""
_LONGEST = 40
"""Most characters before an end that are read."""


@dataclass(frozen=True)
class Sentences:
    """Sentences of a text: the fewest and the most that readers count, and whether the last one is finished."""

    least: int
    most: int
    finished: bool


@rule("global", read=lambda sentence: read_bounds(sentence, "word"))
def count_words(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` words; see `word_range`."""
    return decide_length(answer, *word_range(answer), low, high, "words")


@rule("global", Phrasing(("Use at least {n} words.", "Write {n} words or more."), number(20, 30), {"length"}))
def min_words(answer: str, n: int) -> Verdict:
    """At least ``n`` words."""
    return count_words.checker(answer, n)


@rule("global", Phrasing(("Use at most {n} words.", "Do not write more than {n} words."), number(15, 28), {"length"}))
def max_words(answer: str, n: int) -> Verdict:
    """At most ``n`` words."""
    return count_words.checker(answer, high=n)


@rule(
    "global",
    Phrasing(
        ("Use at least {n} different words.", "Your answer needs {n} or more different words."),
        number(14, 22),
        {"length"},
    ),
)
def distinct_words(answer: str, n: int) -> Verdict:
    """At least ``n`` different words."""
    text = answer.lower()
    readings = (WORD.findall(text), re.findall(r"\w+", text), [word.strip(".,:;!?") for word in text.split()])
    counts = [len({*reading} - {""}) for reading in readings]
    return decide_length(answer, min(counts), max(counts), n, None, "different words")


@rule("global", read=lambda sentence: read_bounds(sentence, "sentence"))
def count_sentences(answer: str, low: int = 0, high: int | None = None, finished: bool = False) -> Verdict:
    """From ``low`` to ``high`` sentences, see `sentence_range`; with ``finished``, no unfinished one after them."""
    counts = sentence_range(answer)
    if finished and not counts.finished:
        return decide_whole(answer, False, "the last sentence is not finished")
    return decide_length(answer, counts.least, counts.most, low, high, "sentences")


def _few(rng: random.Random, topic: str) -> Arguments:
    low = rng.randint(1, 3)
    return {"low": low, "high": low + 1}


@rule(
    "global",
    Phrasing(
        ("Write {low} or {high} sentences.", "Answer in {low} to {high} complete sentences."),
        _few,
        {"length", "layout", "finish"},
    ),
)
def sentence_count(answer: str, low: int, high: int) -> Verdict:
    """From ``low`` to ``high`` finished sentences, and no unfinished one after them."""
    return count_sentences.checker(answer, low, high, finished=True)


@rule("global", read=lambda sentence: read_bounds(sentence, "paragraph"))
def count_paragraphs(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` paragraphs.

    At least the blocks between blank lines that are more than a heading, without code in fences; at most all lines of
    text.
    """
    prose = answer
    for start, end in reversed(fences(answer)):
        prose = prose[:start] + prose[end:]
    blocks = [block.strip() for block in re.split(r"\n\s*\n", prose) if WORD.search(block)]
    plain = [block for block in blocks if not re.fullmatch(r"#{1,6} .*|\*\*.*\*\*:?|.*:", block)]
    lines = [line for line in answer.split("\n") if WORD.search(line)]
    return decide_length(answer, max(len(plain), 1), max(len(lines), 1), low, high, "paragraphs")


@rule("global")
def paragraphs(answer: str, n: int) -> Verdict:
    """Exactly ``n`` paragraphs, separated by blank lines; headings and rules such as ``---`` may count or not."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", answer) if block.strip()]
    least = sum(not (is_rule(block) or re.fullmatch(r"#{1,6} .*", block)) for block in blocks)
    return decide_length(answer, least, len(blocks), n, n, "paragraphs")


def word_range(text: str) -> tuple[int, int]:
    """The fewest and the most words that readers count in a plain text.

    Hyphens may or may not part words. Markers of lists and headings, and symbols that stand alone, are words for
    readers who count whatever is between spaces, as word processors do.
    """
    characters, bare = len(CJK.findall(text)), CJK.sub(" ", MARKER.sub("", text))
    every = CJK.sub(" ", text).split()
    readings = (len(WORD.findall(bare)), len(re.findall(r"\w+(?:['’]\w+)*", bare)), len(bare.split()), len(every))
    return characters + min(readings), characters + max(readings)


def sentence_range(text: str) -> Sentences:
    """Sentences of a plain text.

    Ends after abbreviations, numbers of list items or ellipses, before a small letter or without a space may count or
    not; so may a line that ends without a full stop.
    """
    least = most = 0
    finished = False
    for line in MARKER.sub("", text).split("\n"):
        first = WORD.search(line)
        if first is None:
            continue
        ends = [match.end() for match in SENTENCE_END.finditer(line, first.start())]
        certain = [end for end in ends if not _is_doubtful(line, end)]
        finished = bool(ends) and not WORD.search(line[ends[-1] :])
        rest = bool(WORD.search(line[certain[-1] if certain else 0 :]))
        least += len(certain) + (rest and finished)
        most += len(ends) + (not finished) + len(JOINED_END.findall(line))
    return Sentences(max(least, min(most, 1)), most, finished)


def _is_doubtful(line: str, end: int) -> bool:
    """Whether a sentence may continue after what looks like its end."""
    following = re.compile(r" *(.)").match(line, end)
    if following and following[1].islower():
        return True
    text = line[max(end - _LONGEST, 0) : end].rstrip(CLOSERS)
    if text.endswith(("..", "…")) or is_abbreviation(text, len(text)):
        return True
    before = re.sub(r"\d+\.$", "", text)
    return before != text and before.rstrip()[-1:] in ("", *END, *"…:;,")  # the number of a list item
