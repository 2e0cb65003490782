"""Checkers of words, marks, case and language, for constraints that people write in words.

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
from rtt_lightning.verifiers.constraints import inside_word, listed, literally

SMALL_WORDS = frozenset(
    "a an and as at but by for from in into nor of on or over per so the to up via with yet".split()
)
"""Words that many keep small in titles."""
SCRIPTS = {
    "zh": r"[\u3400-\u4dbf\u4e00-\u9fff]",
    "ja": r"[\u3040-\u30ff\u4e00-\u9fff]",
    "ko": r"[\uac00-\ud7af\u1100-\u11ff]",
    "ru": r"[\u0400-\u04ff]",
    "ar": r"[\u0600-\u06ff]",
    "hi": r"[\u0900-\u097f]",
    "th": r"[\u0e00-\u0e7f]",
    "el": r"[\u0370-\u03ff]",
    "he": r"[\u0590-\u05ff]",
}
"""Characters of languages that their script tells from those in Latin letters."""
LATIN = ("en", "fr", "de", "es", "it", "pt", "nl", "sv", "pl", "tr", "vi", "id")
LATIN_LETTER = r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"
LACKED = {
    "ru": r"(?i:(?![а-яё])[\u0400-\u04ff])",
    "ar": r"[\u067e\u0679\u0686\u0688\u0691\u0698\u06a9\u06af\u06ba\u06be\u06c1\u06cc\u06d2]",
    "hi": r"[\u0931\u0933\u0972]",
}
"""Letters of other languages that share a script: of Ukrainian, of Persian and Urdu, of Marathi."""
MOSTLY, HARDLY = 0.8, 0.2
"""Shares of letters, or probabilities, above which an answer is in a language, and below which it is not."""
ENOUGH, PLENTY = 8, 20
"""Words that tell a language in Latin letters: where it is the one asked for, and where it is not. Detectors are sure
of short texts as well, and wrong: they find Italian in "Hello!".
"""


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
    return _filled(answer, Verdict(True, "does not occur", ()))


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
    return _filled(answer, Verdict(not spans, f"{mark!r} occurs {len(spans)} times", spans))


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


def language(answer: str, language: str) -> Verdict:
    """The answer is in the language: a code such as ``en`` or ``ja``, or ``zh-hans`` and ``zh-hant``.

    Raises:
        ValueError: For another language.
    """
    if not any(character.isalpha() for character in answer):
        return _filled(answer, Verdict.unscorable("no letters, so no language"))
    if language in ("zh-hans", "zh-hant"):
        return _chinese(answer, traditional=language == "zh-hant")
    share = _share(answer, language)
    if HARDLY < share < MOSTLY:
        return Verdict.unscorable(f"partly in {language}: {share:.2f}")
    if language in LACKED and share >= MOSTLY and (other := _of_the_same_script(answer, language)):
        return Verdict.unscorable(other)
    if language in LATIN and _in_script(answer, LATIN_LETTER) > HARDLY:
        words = len(re.findall(f"{LATIN_LETTER}+", answer))
        if words < (ENOUGH if share >= MOSTLY else PLENTY):
            return Verdict.unscorable(f"{words} words are too few to tell the language")
    return Verdict(share >= MOSTLY, f"{share:.2f} in {language}", ((0, len(answer)),))


def _share(answer: str, language: str) -> float:
    """The share of the letters that are of the language's script, times the probability of a language in Latin ones."""
    if language in LATIN:
        return _in_script(answer, LATIN_LETTER) * _detected(answer).get(language, 0.0)
    if language not in SCRIPTS:
        raise ValueError(f"unknown language {language!r}; known are {', '.join((*SCRIPTS, *LATIN))}, zh-hans, zh-hant")
    share = _in_script(answer, SCRIPTS[language])
    if language == "zh" and re.search(r"[\u3040-\u30ff]{3}", answer):
        return 0.0  # Japanese
    if language == "ja" and share >= MOSTLY and not re.search(r"[\u3040-\u30ff]", answer):
        return 0.0  # Chinese
    return share


def _of_the_same_script(answer: str, language: str) -> str:
    """What speaks for another language in the same letters; empty if nothing does."""
    if re.search(LACKED[language], answer):
        return f"letters that {language} lacks"
    others = [other for other, probability in _detected(answer).items() if probability >= MOSTLY and other != language]
    return f"may be {others[0]}" if others else ""


def _in_script(answer: str, script: str) -> float:
    """The share of an answer's letters, of which it has some."""
    letters = [character for character in answer if character.isalpha()]
    return len(re.findall(script, "".join(letters))) / len(letters)


def _detected(answer: str) -> dict[str, float]:
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0  # unseeded, what is found for a short text changes from call to call
    try:
        return {found.lang: found.prob for found in detect_langs(answer)}
    except LangDetectException:
        return {}


def _chinese(answer: str, traditional: bool) -> Verdict:
    """By characters that exist in one of the two scripts only."""
    if (share := _share(answer, "zh")) < MOSTLY:
        return Verdict(False, f"{share:.2f} in zh", ((0, len(answer)),)) if share < HARDLY else _mixed()
    only = [(_in(c, "big5"), _in(c, "gb2312")) for c in re.findall(SCRIPTS["zh"], answer)]
    ours = sum(1 for big5, gb2312 in only if (big5 and not gb2312 if traditional else gb2312 and not big5))
    others = sum(1 for big5, gb2312 in only if (gb2312 and not big5 if traditional else big5 and not gb2312))
    if not ours + others or HARDLY < ours / (ours + others) < MOSTLY:
        return _mixed()
    return Verdict(ours > others, f"{ours} characters of this script, {others} of the other", ((0, len(answer)),))


def _mixed() -> Verdict:
    return Verdict.unscorable("characters of both scripts, or of neither")


def _in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _occurrences(answer: str, word: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Where a word stands by itself, and where it stands at all. Chinese and Japanese set no spaces between words."""
    inside = tuple(match.span() for match in re.finditer(literally(word), answer, re.IGNORECASE))
    if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", word):
        return inside, inside
    return tuple((a, b) for a, b in inside if not (inside_word(answer, a) or inside_word(answer, b))), inside


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
        return _filled(answer, Verdict(True, f"{what} occurs {len(whole)} times", whole))
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


def _filled(answer: str, verdict: Verdict) -> Verdict:
    """An answer without characters meets nothing."""
    return verdict if answer.strip() else Verdict(False, "empty answer", ())


WORDING = {
    f"rtt:{checker.__name__}": checker
    for checker in (
        keywords, no_keywords, keyword_count, mark_count, no_mark, end_mark, uppercase, capitalized, language
    )
}  # fmt: skip
