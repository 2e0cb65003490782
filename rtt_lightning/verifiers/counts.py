"""Checkers of lengths, ids ``rtt:count_<unit>``: how many words, sentences or paragraphs an answer has.

People count differently: is "well-known" one word, does a heading count as a paragraph? So each count is a range, from
the lowest to the highest that a reasonable reader gets. The verdict is met where the whole range is allowed, not met
where none of it is, and unscorable between: a reader's choice must not earn reward.
"""

import re

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.constraints import WORD, whole

CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Characters of Chinese and Japanese, each of which counts as a word."""
MARKER = re.compile(r"^[ \t]*(?:[-*+•]|\d+[.)]|#{1,6}|>)[ \t]+", re.MULTILINE)
"""What begins a list item, a heading or a quotation."""
ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|a\.m|p\.m|No|Inc|Ltd|Co|Fig|approx|U\.S|U\.K|[A-Z])\.",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)*_]*(?=\s|$)|[。！？।॥؟۔]+[”’」』）]*")


def count_words(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` words; markers of lists and headings are none, hyphens may or may not part words."""
    text = MARKER.sub("", answer)
    characters = len(CJK.findall(text))
    text = CJK.sub(" ", text)
    readings = (len(WORD.findall(text)), len(re.findall(r"\w+(?:['’]\w+)*", text)), len(text.split()))
    return within(answer, characters + min(readings), characters + max(readings), low, high, "words")


def count_sentences(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` sentences.

    Ends after abbreviations or before a small letter may count or not; so may a line that ends without a full stop.
    """
    least = most = 0
    for line in MARKER.sub("", answer).splitlines():
        if not WORD.search(line):
            continue
        ends = [match.end() for match in SENTENCE_END.finditer(line)]
        doubtful = [end for end in ends if _is_doubtful(line, end)]
        unfinished = not ends or bool(WORD.search(line[ends[-1] :]))
        least += len(ends) - len(doubtful) + (bool(doubtful) and len(doubtful) == len(ends) and not unfinished)
        most += len(ends) + unfinished
    return within(answer, max(least, 1), most, low, high, "sentences")


def count_paragraphs(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` paragraphs: at least the blocks between blank lines that are more than a heading, at
    most all lines with text.
    """
    blocks = [block for block in re.split(r"\n\s*\n", answer) if WORD.search(block)]
    plain = [block for block in blocks if not re.fullmatch(r"\s*(?:#{1,6} .*|\*\*.*\*\*:?|.*:)\s*", block)]
    lines = [line for line in answer.splitlines() if WORD.search(line)]
    return within(answer, max(len(plain), 1), len(lines), low, high, "paragraphs")


def within(answer: str, least: int, most: int, low: int, high: int | None, unit: str) -> Verdict:
    """The verdict on a count that readers put between ``least`` and ``most``; it is to be from ``low`` to ``high``."""
    highest = float("inf") if high is None else high
    count = f"{least}" if least == most else f"{least} to {most}"
    met = low <= least and most <= highest
    if met or most < low or highest < least or not answer.strip():
        return whole(answer, met, f"{count} {unit}")
    return Verdict.unscorable(f"{count} {unit}, depending on how they are counted")


def _is_doubtful(line: str, end: int) -> bool:
    """Whether a sentence may go on behind what looks like its end."""
    following = line[end:].lstrip()
    if following[:1].islower():
        return True
    last = line[:end].rstrip("\"'”’)*_").rpartition(" ")[2].lstrip("(\"'“‘*_")
    return bool(ABBREVIATION.fullmatch(last))


COUNTS = {f"rtt:{checker.__name__}": checker for checker in (count_words, count_sentences, count_paragraphs)}
