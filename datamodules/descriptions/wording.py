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
_NAMED = rf"(?:the )?(?:following )?(?:exact )?(?:{_WORDS}:? )?"
_WHOLE = r"(?:the|your) (?:answer|response|output|reply|text)"
_WRITTEN = r"(?:be )?(?:written |formatted |presented |provided |given |composed )?"


def parse_wording(description: str) -> Check | None:
    """The check that a description asks for, or ``None``."""
    parsers = (_keywords, _no_keywords, _keyword_count, _end_mark, _no_mark, _mark_count, _case, _language)
    return next((check for parse in parsers if (check := parse(description))), None)


def _keywords(description: str) -> Check | None:
    patterns = (
        rf"{SUBJECT}{HAVE} (?:(?:all|each|both) (?:of )?)?{_NAMED}({LIST})(?: {_WORDS})?(?: at least once)?",
        rf"(?:the )?{_WORDS} ({LIST}) (?:must|should) be (?:included|used|mentioned)(?: in {_WHOLE})?",
    )
    found = match(description, *patterns)
    words = quoted(found[1]) if found else None
    return ("rtt:keywords", {"words": words}) if words else None


def _no_keywords(description: str) -> Check | None:
    if found := match(description, rf"{NOT_HAVE} (?:any of )?{_NAMED}({LIST_OR})(?: {_WORDS})?"):
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
    found = match(description, *patterns)
    words = quoted(found["word"]) if found else None
    if not found or not words or len(words) > 1:
        return None
    times = re.sub(r"\bonce\b", "1 time", re.sub(r"\btwice\b", "2 times", found[2].lower()))
    bounds = parse_bounds(times, {"time": "times"})
    return bounds and ("rtt:keyword_count", {"word": words[0], **bounds.limits})


def _end_mark(description: str) -> Check | None:
    patterns = (
        rf"(?:the )?(?:ending|final|last|closing|end) punctuation(?: mark)?(?: of {_WHOLE})? "
        rf"(?:must|should|has to) be (?:an? )?{_MARK}",
        rf"{SUBJECT}(?:end|conclude|finish)s? with (?:an? )?{_MARK}",
    )
    found = match(description, *patterns)
    return ("rtt:end_mark", {"mark": MARKS[found[1].lower()]}) if found else None


def _no_mark(description: str) -> Check | None:
    patterns = (
        rf"{NOT_HAVE} (?:any )?{_MARK}(?: anywhere)?",
        rf"{SUBJECT}{HAVE} no {_MARK}",
        rf"no {_MARK}(?: (?:are|is) allowed| (?:should|may|must) be used| at all)?",
    )
    found = match(description, *patterns)
    return ("rtt:no_mark", {"mark": MARKS[found[1].lower()]}) if found else None


def _mark_count(description: str) -> Check | None:
    if found := match(description, rf"{SUBJECT}{HAVE} an? {_MARK}"):
        return "rtt:include_mark", {"mark": MARKS[found[1].lower()]}
    bounds = parse_bounds(description, MARKS)
    return bounds and ("rtt:mark_count", {"mark": bounds.unit, **bounds.limits})


def _case(description: str) -> Check | None:
    entirely = r"(?:all|only|entirely|completely|fully)"
    for kind, names in (
        ("uppercase", r"(?:uppercase|upper case|upper-case|capital|caps|capitals|block capital)(?: letters?| case)?"),
        ("lowercase", r"(?:lowercase|lower case|lower-case|small(?= letters?\b))(?: letters?| case)?"),
    ):
        patterns = (  # "use capital letters" does not say for what
            rf"{SUBJECT}{_WRITTEN}(?:appear )?(?:{entirely} )?in (?:{entirely} )*{names}(?: only| throughout)?",
            rf"{SUBJECT}{_WRITTEN}(?:{entirely} )?(?:use |using )?(?:{entirely} )+{names}(?: only| throughout)?",
            rf"{SUBJECT}{_WRITTEN}(?:{entirely} )?(?:use |using )?{names} (?:only|throughout)",
            rf"(?:all|every) (?:letters?|words?|text)(?: (?:of|in) {_WHOLE})? (?:must|should) be "
            rf"(?:in )?(?:all )?{names}(?: only| throughout)?",
        )
        if match(description, *patterns):
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
    return ("rtt:capitalized", {}) if match(description, *patterns) else None


def _language(description: str) -> Check | None:
    names = "|".join(sorted(LANGUAGES, key=len, reverse=True))
    patterns = (
        rf"{SUBJECT}{_WRITTEN}(?:entirely |only )?(?:in|use|using) ({names})(?: language| characters)?(?: only)?",
        rf"(?:use|answer in|respond in|write in|reply in) ({names})(?: only)?",
        rf"(?:the )?language (?:of the (?:answer|response|output) )?(?:must|should) be ({names})",
    )
    found = match(description, *patterns)
    return ("rtt:language", {"language": LANGUAGES[found[1].lower()]}) if found else None
