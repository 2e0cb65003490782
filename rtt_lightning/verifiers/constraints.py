"""The built-in rule checkers, ids ``rtt:<kind>``: exact verdicts with the characters that decide them.

| scope | polarity | kinds |
|---|---|---|
| global | | min_words, max_words, sentence_count, distinct_words, paragraphs |
| local | positive | include_word, include_words, word_count, start_with, end_with, end_punctuation, bullet_list, \
capital_word, include_number, exclamation, question, quoted, postscript, title |
| local | negative | forbid_word, no_commas, lowercase, no_repetition |

Spans follow scope and polarity: the whole answer for a global kind; what satisfies a local positive one when it is
met; what violates a local negative one when it is not; else nothing. An answer without characters other than
whitespace meets no criterion: emptiness must not earn reward.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.words import listed, literally, stands_alone

WORD = re.compile(r"\w+(?:['’-]\w+)*")
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|[\"'”’)])")
COMMON_WORDS = frozenset(
    "a an and are as at be but by can for from had has have he her his i in is it its not of on or our she so that "
    "the their there they this to was we were which who will with you your".split()
)


def include_word(answer: str, word: str) -> Verdict:
    """The word occurs, in any case."""
    return _wanted(_find(answer, word), f"{word!r} does not occur")


def include_words(answer: str, words: Sequence[str]) -> Verdict:
    """Every one of the words occurs."""
    found = [_find(answer, word) for word in listed(words)]
    missing = [word for word, spans in zip(words, found, strict=True) if not spans]
    return _wanted(() if missing else sum(found, ()), f"missing: {', '.join(missing)}")


def word_count(answer: str, word: str, n: int) -> Verdict:
    """The word occurs at least ``n`` times."""
    spans = _find(answer, word)
    return _wanted(spans if len(spans) >= n else (), f"{word!r} occurs {len(spans)} times, not {n}")


def start_with(answer: str, phrase: str) -> Verdict:
    """The answer begins with the phrase, in any case."""
    match = re.match(rf"\s*({literally(phrase)})(?!\w)", answer, re.IGNORECASE)
    return _wanted((match.span(1),) if match else (), f"does not begin with {phrase!r}")


def end_with(answer: str, phrase: str) -> Verdict:
    """The answer ends with the phrase, in any case; punctuation may follow."""
    match = re.search(rf"(?<!\w)({literally(phrase)})[\s.!?\"'”’*]*\Z", answer, re.IGNORECASE)
    return _wanted((match.span(1),) if match else (), f"does not end with {phrase!r}")


def end_punctuation(answer: str) -> Verdict:
    """The last sentence is finished: by a full stop, an exclamation mark or a question mark."""
    match = re.search(r"[.!?]+(?=[\"'”’)*]*\s*\Z)", answer)
    return _wanted((match.span(),) if match else (), "the last sentence is not finished")


def bullet_list(answer: str, n: int) -> Verdict:
    """At least ``n`` lines begin with "- " or "* "."""
    spans = tuple(match.span(1) for match in re.finditer(r"^[ \t]*([-*] +\S.*)$", answer, re.MULTILINE))
    return _wanted(spans if len(spans) >= n else (), f"{len(spans)} bullet points, not {n}")


def capital_word(answer: str, n: int) -> Verdict:
    """At least ``n`` words of two or more letters are in capitals."""
    spans = tuple(match.span() for match in WORD.finditer(answer) if len(match[0]) > 1 and match[0].isupper())
    return _wanted(spans if len(spans) >= n else (), f"{len(spans)} words in capitals, not {n}")


def include_number(answer: str) -> Verdict:
    """A number in digits occurs."""
    return _wanted(_spans(r"\d+", answer), "no number in digits")


def exclamation(answer: str) -> Verdict:
    """An exclamation mark occurs."""
    return _wanted(_spans(r"!", answer), "no exclamation mark")


def question(answer: str) -> Verdict:
    """A question mark occurs."""
    return _wanted(_spans(r"\?", answer), "no question mark")


def quoted(answer: str) -> Verdict:
    """The whole answer stands in double quotation marks."""
    match = re.fullmatch(r"\s*([\"“]).+([\"”])\s*", answer, re.DOTALL)
    return _wanted((match.span(1), match.span(2)) if match else (), "not wrapped in double quotation marks")


def postscript(answer: str) -> Verdict:
    """A postscript "P.S." with text stands at the end."""
    match = re.search(r"(?<!\w)(P\.S\.)\s*\S", answer)
    return _wanted((match.span(1),) if match else (), 'no "P.S."')


def title(answer: str) -> Verdict:
    """A title in double angular brackets, as <<title>>."""
    return _wanted(_spans(r"<<[^<>\n]+>>", answer), "no <<title>>")


def forbid_word(answer: str, word: str) -> Verdict:
    """The word does not occur, in any case."""
    return _unwanted(answer, _find(answer, word), f"{word!r} occurs")


def no_commas(answer: str) -> Verdict:
    """No comma occurs."""
    return _unwanted(answer, _spans(r"[,，、،]", answer), "a comma occurs")


def lowercase(answer: str) -> Verdict:
    """No capital letter occurs."""
    spans = tuple((i, i + 1) for i, character in enumerate(answer) if character.isupper())
    return _unwanted(answer, spans, "a capital letter occurs")


def no_repetition(answer: str, n: int) -> Verdict:
    """No word but the most common ones occurs more than ``n`` times; the occurrences beyond are the violation."""
    seen: Counter[str] = Counter()
    spans = []
    for match in WORD.finditer(answer):
        word = match[0].lower()
        seen[word] += 1
        if seen[word] > n and word not in COMMON_WORDS:
            spans.append(match.span())
    return _unwanted(answer, tuple(spans), f"a word occurs more than {n} times")


def min_words(answer: str, n: int) -> Verdict:
    """At least ``n`` words."""
    count = len(WORD.findall(answer))
    return whole(answer, count >= n, f"{count} words")


def max_words(answer: str, n: int) -> Verdict:
    """At most ``n`` words."""
    count = len(WORD.findall(answer))
    return whole(answer, count <= n, f"{count} words")


def sentence_count(answer: str, low: int, high: int) -> Verdict:
    """From ``low`` to ``high`` finished sentences, and no unfinished one behind them."""
    ends = [match.end() for match in SENTENCE_END.finditer(answer)]
    finished = bool(ends) and not WORD.search(answer[ends[-1] :])
    return whole(answer, finished and low <= len(ends) <= high, f"{len(ends)} finished sentences")


def distinct_words(answer: str, n: int) -> Verdict:
    """At least ``n`` different words."""
    count = len({word.lower() for word in WORD.findall(answer)})
    return whole(answer, count >= n, f"{count} different words")


def paragraphs(answer: str, n: int) -> Verdict:
    """Exactly ``n`` paragraphs, separated by blank lines."""
    count = len([part for part in re.split(r"\n\s*\n", answer) if part.strip()])
    return whole(answer, count == n, f"{count} paragraphs")


Checker = Callable[..., Verdict]

CHECKERS: dict[str, Checker] = {
    f"rtt:{checker.__name__}": checker
    for checker in (
        include_word, include_words, word_count, start_with, end_with, end_punctuation, bullet_list, capital_word,
        include_number, exclamation, question, quoted, postscript, title, forbid_word, no_commas, lowercase,
        no_repetition, min_words, max_words, sentence_count, distinct_words, paragraphs,
    )
}  # fmt: skip


def _find(answer: str, word: str) -> tuple[Span, ...]:
    spans = _spans(rf"(?<!\w){literally(word)}(?!\w)", answer)
    return tuple(span for span in spans if stands_alone(answer, span))


def _spans(pattern: str, answer: str) -> tuple[Span, ...]:
    return tuple(match.span() for match in re.finditer(pattern, answer, re.IGNORECASE))


def _wanted(spans: tuple[Span, ...], otherwise: str) -> Verdict:
    """Local, positive: met by what was found."""
    return Verdict(True, "found", spans) if spans else Verdict(False, otherwise, ())


def _unwanted(answer: str, spans: tuple[Span, ...], because: str) -> Verdict:
    """Local, negative: violated by what was found."""
    return filled(answer, Verdict(False, because, spans) if spans else Verdict(True, "does not occur", ()))


def whole(answer: str, met: Any, reason: str) -> Verdict:
    """Global: every character decides."""
    return filled(answer, Verdict(bool(met), reason, ((0, len(answer)),)))


def filled(answer: str, verdict: Verdict) -> Verdict:
    """The verdict, unless the answer has no characters: that meets nothing."""
    return verdict if answer.strip() else Verdict(False, "empty answer", ())
