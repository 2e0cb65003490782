"""The rule of an answer's language: by script if that decides, else by a detector, else no verdict."""

import re

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.rules.grammar import SUBJECT, WRITTEN, reads
from rtt_lightning.verifiers.rules.rule import Arguments, rule

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
"""Characters of languages whose script is not Latin."""
LATIN = ("en", "fr", "de", "es", "it", "pt", "nl", "sv", "pl", "tr", "vi", "id")
LATIN_LETTER = r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"
LACKED = {
    "ru": r"(?i:(?![а-яё])[\u0400-\u04ff])",
    "ar": r"[\u067e\u0679\u0686\u0688\u0691\u0698\u06a9\u06af\u06ba\u06be\u06c1\u06cc\u06d2]",
    "hi": r"[\u0931\u0933\u0972]",
}
"""Letters of other languages that share a script: of Ukrainian, of Persian and Urdu, of Marathi."""
MOSTLY, HARDLY = 0.8, 0.2
"""Shares of letters, or probabilities: from the first on an answer is in a language, below the second it is not."""
ENOUGH, PLENTY = 8, 20
"""Words needed to tell a language in Latin letters: if it is the expected one, and if not. Detectors are also sure of
short texts, and wrong: they find Italian in "Hello!".
"""


NAMES = {
    "english": "en", "chinese": "zh", "simplified chinese": "zh-hans", "traditional chinese": "zh-hant",
    "french": "fr", "german": "de", "spanish": "es", "italian": "it", "portuguese": "pt", "dutch": "nl",
    "japanese": "ja", "korean": "ko", "russian": "ru", "arabic": "ar", "hindi": "hi", "thai": "th", "greek": "el",
    "hebrew": "he", "turkish": "tr", "polish": "pl", "vietnamese": "vi", "swedish": "sv", "indonesian": "id",
}  # fmt: skip
_NAME = "|".join(sorted(NAMES, key=len, reverse=True))


def _named(found: re.Match[str]) -> Arguments:
    return {"language": NAMES[found[1].lower()]}


@rule(
    "global",
    read=reads(
        rf"{SUBJECT}{WRITTEN}(?:entirely |only )?(?:in|use|using) ({_NAME})(?: language| characters)?(?: only)?",
        rf"(?:use|answer in|respond in|write in|reply in) ({_NAME})(?: only)?",
        rf"(?:the )?language (?:of the (?:answer|response|output) )?(?:must|should) be ({_NAME})",
        arguments=_named,
    ),
)
def language(answer: str, language: str) -> Verdict:
    """The answer is in the language: a code such as ``en`` or ``ja``, or ``zh-hans`` and ``zh-hant``.

    Raises:
        ValueError: For another language.
    """
    if not any(character.isalpha() for character in answer):
        return Verdict.unscorable("no letters, so no language")
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
    """The share of letters in the language's script; for Latin letters times the probability of the language."""
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
    """Evidence for another language of the same script; empty without any."""
    if re.search(LACKED[language], answer):
        return f"letters that {language} lacks"
    others = [other for other, probability in _detected(answer).items() if probability >= MOSTLY and other != language]
    return f"may be {others[0]}" if others else ""


def _in_script(answer: str, script: str) -> float:
    """The share of an answer's letters, at least one, in a script."""
    letters = [character for character in answer if character.isalpha()]
    return len(re.findall(script, "".join(letters))) / len(letters)


def _detected(answer: str) -> dict[str, float]:
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0  # unseeded, the language of a short text changes from call to call
    try:
        return {found.lang: found.prob for found in detect_langs(answer)}
    except LangDetectException:
        return {}


def _chinese(answer: str, traditional: bool) -> Verdict:
    """By characters that exist in only one of the two scripts."""
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
