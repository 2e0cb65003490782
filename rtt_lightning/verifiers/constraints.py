"""The rule checkers of the built-in constraint sampler, ids ``rtt:<kind>``: verdicts with the characters that decide.

| scope | polarity | kinds |
|---|---|---|
| global | | min_words, max_words, sentence_count, distinct_words, paragraphs |
| global | counted | word_count, bullet_list, capital_word |
| local | positive | include_word, include_words, start_with, end_with, end_punctuation, include_number, exclamation, \
question, quoted, postscript, title |
| local | negative | forbid_word, no_commas, lowercase, no_repetition |

Spans are the characters that decide: all of them for a length; what satisfies a positive kind when it is met, and what
violates a negative one when it is not; else none. The scope says what is relevant to a criterion, by the paper's
taxonomy: with a global one that is the whole answer, also where it counts things of which spans tell the places.
"""

import re
from collections import Counter
from collections.abc import Sequence

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.counts import sentences, words
from rtt_lightning.verifiers.edges import end_punctuation, end_with, postscript, quoted, start_with, title
from rtt_lightning.verifiers.marks import marks
from rtt_lightning.verifiers.rule import Checker, Found, by_id, counted, measured, rule, whole
from rtt_lightning.verifiers.structure import list_items
from rtt_lightning.verifiers.text import ADDRESS, WORD, folded, is_rule, places
from rtt_lightning.verifiers.words import all_of, listed, occurrences, stands_alone

COMMON_WORDS = frozenset(
    "a an and are as at be but by can for from had has have he her his i in is it its not of on or our she so that "
    "the their there they this to was we were which who will with you your".split()
)


@rule("local")
def include_word(answer: str, word: str) -> Verdict:
    """The word occurs, in any case."""
    return counted(occurrences(answer, word, inside=False), 1, None, f"times {word!r}")


@rule("local")
def include_words(answer: str, words: Sequence[str]) -> Verdict:
    """Every one of the words occurs."""
    return all_of({word: occurrences(answer, word, inside=False) for word in listed(words)})


@rule("global")
def word_count(answer: str, word: str, n: int) -> Verdict:
    """The word occurs at least ``n`` times."""
    return counted(occurrences(answer, word, inside=False), n, None, f"times {word!r}")


@rule("global")
def bullet_list(answer: str, n: int) -> Verdict:
    """At least ``n`` lines begin with "- " or "* "."""
    return counted(list_items(answer, "-*"), n, None, "bullet points")


@rule("global")
def capital_word(answer: str, n: int) -> Verdict:
    """At least ``n`` words of two or more letters are in capitals; such parts of longer words are doubtful."""
    found = [m for m in WORD.finditer(answer) if m[0].isupper() and sum(map(str.isalpha, m[0])) > 1]
    parts = [part for part in re.findall(r"[^\W_]+", answer) if len(part) > 1 and part.isupper()]
    dotted = re.findall(r"\b(?:[^\W\d_]\.){2,}", answer)
    most = len(parts) + sum(text.isupper() for text in dotted)
    certain = tuple(m.span() for m in found)
    return counted(Found(certain, max(len(certain), most)), n, None, "words in capitals")


@rule("local")
def include_number(answer: str) -> Verdict:
    """A number in digits occurs; digits that number a list, stand within words or in addresses are doubtful."""
    hidden = places(match.span() for match in ADDRESS.finditer(answer))
    found = [match.span() for match in re.finditer(r"\d+(?:[.,:]\d+)*", answer)]
    hidden |= places(match.span(1) for match in re.finditer(r"^ *(\d+)[.)] ", answer, re.MULTILINE))
    certain = tuple(span for span in found if span[0] not in hidden and stands_alone(answer, span))
    return counted(Found(certain, len(found)), 1, None, "numbers in digits")


@rule("local")
def exclamation(answer: str) -> Verdict:
    """An exclamation mark occurs."""
    return counted(marks(answer, "!"), 1, None, "exclamation marks")


@rule("local")
def question(answer: str) -> Verdict:
    """A question mark occurs."""
    return counted(marks(answer, "?"), 1, None, "question marks")


@rule("local")
def forbid_word(answer: str, word: str) -> Verdict:
    """The word does not occur, in any case."""
    return counted(occurrences(answer, word, inside=False), 0, 0, f"times {word!r}")


@rule("local")
def no_commas(answer: str) -> Verdict:
    """No comma occurs; those within numbers are doubtful."""
    return counted(marks(answer, ","), 0, 0, "commas")


@rule("local")
def lowercase(answer: str) -> Verdict:
    """No capital letter occurs, but some letter does; in a script without capitals it is doubtful."""
    spans = tuple((i, i + 1) for i, sign in enumerate(answer) if sign.isupper() or sign.istitle())
    if spans or not any(map(str.isalpha, answer)):
        return Verdict(False, "a capital letter occurs" if spans else "no letters", spans)
    if not any(map(str.islower, answer)):
        return Verdict.unscorable("no letter has a capital form: met for some readers alone")
    return Verdict(True, "no capital letter", ())


@rule("local")
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
    return counted(Found(tuple(spans), most), 0, 0, f"words beyond {n} times each")


@rule("global")
def min_words(answer: str, n: int) -> Verdict:
    """At least ``n`` words."""
    return measured(answer, *words(answer), n, None, "words")


@rule("global")
def max_words(answer: str, n: int) -> Verdict:
    """At most ``n`` words."""
    return measured(answer, *words(answer), 0, n, "words")


@rule("global")
def sentence_count(answer: str, low: int, high: int) -> Verdict:
    """From ``low`` to ``high`` finished sentences, and no unfinished one behind them."""
    counts = sentences(answer)
    if not counts.finished:
        return whole(answer, False, "the last sentence is not finished")
    return measured(answer, counts.least, counts.most, low, high, "sentences")


@rule("global")
def distinct_words(answer: str, n: int) -> Verdict:
    """At least ``n`` different words."""
    text = answer.lower()
    readings = (WORD.findall(text), re.findall(r"\w+", text), [word.strip(".,:;!?") for word in text.split()])
    counts = [len({*reading} - {""}) for reading in readings]
    return measured(answer, min(counts), max(counts), n, None, "different words")


@rule("global")
def paragraphs(answer: str, n: int) -> Verdict:
    """Exactly ``n`` paragraphs, separated by blank lines; headings and rules such as ``---`` may count or not."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", answer) if block.strip()]
    least = sum(not (is_rule(block) or re.fullmatch(r"#{1,6} .*", block)) for block in blocks)
    return measured(answer, least, len(blocks), n, n, "paragraphs")


CHECKERS: dict[str, Checker] = by_id(
    include_word, include_words, word_count, start_with, end_with, end_punctuation, bullet_list, capital_word,
    include_number, exclamation, question, quoted, postscript, title, forbid_word, no_commas, lowercase,
    no_repetition, min_words, max_words, sentence_count, distinct_words, paragraphs,
)  # fmt: skip
