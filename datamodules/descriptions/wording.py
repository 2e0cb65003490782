"""Descriptions of keywords, punctuation, letter case and language."""

import re
from typing import Any

from rtt_lightning.datamodules.descriptions.bounds import parse_bounds
from rtt_lightning.datamodules.descriptions.grammar import HAVE, LIST, LIST_OR, NOT_HAVE, QUOTED, SUBJECT, match, quoted

Check = tuple[str, dict[str, Any]]

MARKS = {
    "period": ".", "full stop": ".", "question mark": "?", "exclamation mark": "!", "exclamation point": "!",
    "comma": ",", "semicolon": ";", "semi-colon": ";", "colon": ":", "ellipsis": "...", "ellipses": "...",
}  # fmt: skip
LANGUAGES = {
    "english": "en", "chinese": "zh", "simplified chinese": "zh-hans", "traditional chinese": "zh-hant",
    "french": "fr", "german": "de", "spanish": "es", "italian": "it", "portuguese": "pt", "dutch": "nl",
    "japanese": "ja", "korean": "ko", "russian": "ru", "arabic": "ar", "hindi": "hi", "thai": "th", "greek": "el",
    "hebrew": "he", "turkish": "tr", "polish": "pl", "vietnamese": "vi", "swedish": "sv", "indonesian": "id",
}  # fmt: skip

_MARK = rf"({'|'.join(MARKS)})s?"
_WORDS = r"(?:key ?words?|words?|phrases?|terms?)"
_NAMED = rf"(?:(?:all|each|both) (?:of )?)?(?:the )?(?:following )?(?:exact )?(?:{_WORDS}:? )?"
_WHOLE = r"(?:the|your) (?:answer|response|output|reply|text)"
_LETTERS = r"(?: letters?| case)?(?: only| throughout)?"
_WRITTEN = r"(?:be )?(?:written |formatted |presented |provided |given |composed )?"


def parse_wording(description: str) -> Check | None:
    """The check that a description asks for, or ``None``."""
    parsers = (_keywords, _no_keywords, _keyword_count, _end_mark, _no_mark, _mark_count, _case, _language)
    return next((check for parse in parsers if (check := parse(description))), None)


def _keywords(description: str) -> Check | None:
    patterns = (
        rf"{SUBJECT}{HAVE} {_NAMED}({LIST})(?: {_WORDS})?(?: at least once)?",
        rf"(?:the )?{_WORDS} ({LIST}) (?:must|should) be (?:included|used|mentioned)(?: in {_WHOLE})?",
    )
    found = next((found for pattern in patterns if (found := match(pattern, description))), None)
    words = quoted(found[1]) if found else None
    return ("rtt:keywords", {"words": words}) if words else None


def _no_keywords(description: str) -> Check | None:
    if found := match(rf"{NOT_HAVE} (?:any of )?{_NAMED}({LIST_OR})(?: {_WORDS})?", description):
        words = quoted(found[1])
        return ("rtt:no_keywords", {"words": words}) if words else None
    return None


def _keyword_count(description: str) -> Check | None:
    times = (
        r"((?:exactly |at least |at most |no more than |up to |more than |fewer than |between ).*|\d+ or more times)"
    )
    patterns = (
        rf"{SUBJECT}{HAVE} (?:the )?(?:{_WORDS} )?(?P<word>{QUOTED}) {times}",
        rf"(?:the )?(?:{_WORDS} )?(?P<word>{QUOTED}) (?:must|should) (?:appear|occur|be used|be included) {times}",
    )
    for pattern in patterns:
        if found := match(pattern, description):
            return _counted("rtt:keyword_count", "word", quoted(found["word"]), found[2])
    return None


def _end_mark(description: str) -> Check | None:
    patterns = (
        rf"(?:the )?(?:ending|final|last|closing|end) punctuation(?: mark)?(?: of {_WHOLE})? "
        rf"(?:must|should|has to) be (?:an? )?{_MARK}",
        rf"{SUBJECT}(?:end|conclude|finish)s? with (?:an? )?{_MARK}",
    )
    found = next((found for pattern in patterns if (found := match(pattern, description))), None)
    return ("rtt:end_mark", {"mark": MARKS[found[1].lower()]}) if found else None


def _no_mark(description: str) -> Check | None:
    patterns = (
        rf"{NOT_HAVE} (?:any )?{_MARK}(?: anywhere)?",
        rf"{SUBJECT}{HAVE} no {_MARK}",
        rf"no {_MARK}(?: (?:are|is) allowed| (?:should|may|must) be used| at all)?",
    )
    found = next((found for pattern in patterns if (found := match(pattern, description))), None)
    return ("rtt:no_mark", {"mark": MARKS[found[1].lower()]}) if found else None


def _mark_count(description: str) -> Check | None:
    if found := match(rf"{SUBJECT}{HAVE} an? {_MARK}", description):
        return "rtt:mark_count", {"mark": MARKS[found[1].lower()], "low": 1}
    bounds = parse_bounds(description, {name: sign for name, sign in MARKS.items() if " " not in name})
    names = {name: name for name in MARKS if " " in name}
    bounds = bounds or parse_bounds(description, names)
    return bounds and (
        "rtt:mark_count",
        {"mark": MARKS.get(bounds.unit, bounds.unit), **_limits(bounds.low, bounds.high)},
    )


def _case(description: str) -> Check | None:
    whole = r"(?:entirely |completely |only |fully )?(?:in |use |using )?(?:(?:all|only) )?(?:entirely )?"
    for kind, names in (
        ("uppercase", r"(?:uppercase|upper case|upper-case|capital|caps|capitals|block capital)"),
        ("lowercase", r"(?:lowercase|lower case|lower-case|small)"),
    ):
        patterns = (
            rf"{SUBJECT}{_WRITTEN}(?:appear )?{whole}{names}{_LETTERS}",
            rf"(?:all|every) (?:letters?|words?|text)(?: (?:of|in) {_WHOLE})? (?:must|should) be "
            rf"(?:in )?(?:all )?{names}{_LETTERS}",
            rf"{SUBJECT}use (?:all|only) {names}{_LETTERS}",
        )
        if any(match(pattern, description) for pattern in patterns):
            return f"rtt:{kind}", {}
    each = rf"(?:each|every) word(?: (?:of|in) {_WHOLE})?"
    capital = r"(?:capital|uppercase|capitali[sz]ed)"
    patterns = (
        rf"{SUBJECT}use capitali[sz]ed letters (?:for|in|at the (?:start|beginning) of) {each}",
        rf"{SUBJECT}(?:use|have) (?:an? )?{capital} (?:first|initial) letters? (?:for|in|of) {each}",
        rf"{SUBJECT}capitali[sz]e (?:the first letter of )?{each}",
        rf"(?:the )?first letter of {each} (?:must|should) be (?:a )?{capital}(?: letter)?",
        rf"{each} (?:must|should) (?:be capitali[sz]ed|(?:begin|start) with an? (?:capital|uppercase) letter)",
    )
    return ("rtt:capitalized", {}) if any(match(pattern, description) for pattern in patterns) else None


def _language(description: str) -> Check | None:
    names = "|".join(sorted(LANGUAGES, key=len, reverse=True))
    patterns = (
        rf"{SUBJECT}{_WRITTEN}(?:entirely |only )?(?:in|use|using) ({names})(?: language| characters)?(?: only)?",
        rf"(?:use|answer in|respond in|write in|reply in) ({names})(?: only)?",
        rf"(?:the )?language (?:of the (?:answer|response|output) )?(?:must|should) be ({names})",
    )
    found = next((found for pattern in patterns if (found := match(pattern, description))), None)
    return ("rtt:language", {"language": LANGUAGES[found[1].lower()]}) if found else None


def _counted(checker: str, name: str, words: list[str] | None, times: str) -> Check | None:
    times = re.sub(r"\bonce\b", "1 time", re.sub(r"\btwice\b", "2 times", times.lower()))
    bounds = parse_bounds(times, {"time": "times"})
    if not words or len(words) > 1 or bounds is None:
        return None
    return checker, {name: words[0], **_limits(bounds.low, bounds.high)}


def _limits(low: int, high: int | None) -> dict[str, int]:
    return {"low": low} if high is None else {"low": low, "high": high}
