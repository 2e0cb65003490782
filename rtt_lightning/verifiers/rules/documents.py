"""Rules of answers that are JSON or XML documents.

Where readers differ (is one object one level or none? may other text accompany it?) there is no verdict.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.parsers import expat

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rules.bounds import read_bounds
from rtt_lightning.verifiers.rules.grammar import GIVEN, SUBJECT, fits
from rtt_lightning.verifiers.rules.rule import Arguments, decide_length, decide_whole, rule
from rtt_lightning.verifiers.rules.text import fences, plain

KINDS = {"object": dict, "array": list}
"""Types of JSON values by name."""
DEEPEST = 100
"""Most levels of nesting that are followed."""
_NESTING = frozenset("json object objects nesting depth nested structure format".split())
"""Words that change nothing about a number of levels."""


def _read_json(sentence: str) -> Arguments | None:
    kinds = r"(?: format| (?P<kind>object|array))?"
    if found := fits(sentence, rf"{SUBJECT}{GIVEN}(?:in|as|use|using|be) (?:an? )?(?:valid )?json{kinds}"):
        return {"kind": found["kind"].lower()} if found["kind"] else {}
    if not re.search(r"\bnest(?:ing|ed)\b", sentence, re.IGNORECASE):
        return None
    if not re.search(r"\b(?:json|objects?)\b", sentence, re.IGNORECASE):
        return None  # lists and quotations nest as well
    # "nesting levels must not exceed 3", without a unit after the number
    behind = re.sub(r"(\b(?:\d+|one|two|three|four|five))(?=\.?$)", r"\1 levels", sentence.strip())
    found = (read_bounds(text, "level", "layer", fillers=_NESTING) for text in (sentence, behind))
    return next(filter(None, found), None)


def _read_xml(sentence: str) -> Arguments | None:
    kinds = r"(?:valid |well-formed )?xml(?: format| document)?"
    if fits(sentence, rf"{SUBJECT}{GIVEN}(?:in|as|use|using|be) (?:an? )?{kinds}"):
        return {}
    if not re.search(r"\bxml\b", sentence, re.IGNORECASE):
        return None
    return read_bounds(sentence, "attribute", fillers=frozenset({"xml", "format", "document"}))


@rule("global", read=_read_json, as_it_is=True)
def is_json(answer: str, low: int = 0, high: int | None = None, kind: str | None = None) -> Verdict:
    """The answer is JSON, by itself or in one fence, with ``low`` to ``high`` levels of objects within each other.

    One object counts as one level or none. JSON beside other text is doubtful. ``kind``: "object" or "array", if it
    must be one.

    Raises:
        ValueError: For another kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind of JSON must be one of {', '.join(KINDS)}, got {kind!r}")
    try:
        value = _alone(answer, partial(json.loads, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        if _has(answer, json.loads, "{[", "}]"):
            return Verdict.unscorable("JSON for some readers, or beside other text")
        return decide_whole(answer, False, f"not JSON: {error}")
    if kind is not None and not isinstance(value, KINDS[kind]):
        return decide_whole(answer, False, f"JSON, but no {kind}")
    if not isinstance(value, dict | list):
        return Verdict.unscorable("a single JSON value, neither object nor list")
    if (low, high) == (0, None):
        return decide_whole(answer, True, "JSON")
    depth = _depth(value)
    return decide_length(answer, max(depth - 1, 0), depth, low, high, "levels")


@rule("global", read=_read_xml, as_it_is=True)
def is_xml(answer: str, low: int = 0, high: int | None = None) -> Verdict:
    """The answer is well-formed XML, by itself or in one fence, with ``low`` to ``high`` attributes.

    They may be counted per element or in total. XML beside other text is doubtful. Its own entities are not expanded.
    """
    try:
        counts = _alone(answer, _attributes)
    except (expat.ExpatError, ValueError) as error:
        if _has(answer, _attributes, "<", ">"):
            return Verdict.unscorable("XML beside other text")
        return decide_whole(answer, False, f"not XML: {error}")
    if (low, high) == (0, None):
        return decide_whole(answer, True, "XML")
    return decide_length(answer, max(counts), sum(counts), low, high, "attributes")


def _fenced(answer: str) -> list[tuple[Span, str]]:
    """Characters of each block of code, and the text between its fences."""
    text = plain(answer)
    found = []
    for start, end in fences(text):
        first, last = text.find("\n", start) + 1, text.rfind("\n", start, end)
        closed = text[last + 1 : end].strip()[:3] in ("```", "~~~") and last >= first - 1
        found.append(((start, end), answer[first : max(first, last) if closed else end]))
    return found


def _alone(answer: str, read: Callable[[str], Any]) -> Any:
    """The value of the whole answer, or of the one fence that it consists of.

    Raises:
        ValueError, expat.ExpatError: If that cannot be read.
    """
    for (start, end), text in _fenced(answer):
        if not answer[:start].strip() and not answer[end:].strip():
            return read(text)
    return read(answer.strip().lstrip("\ufeff"))


def _has(answer: str, read: Callable[[str], Any], opening: str, closing: str) -> bool:
    """Whether some fence, or the text from the first opening to the last closing bracket, can be read."""
    first = min((place for bracket in opening if (place := answer.find(bracket)) >= 0), default=0)
    last = max(answer.rfind(bracket) for bracket in closing)
    for text in (*(text for _, text in _fenced(answer)), answer[first : last + 1]):
        try:
            read(text)
        except (ValueError, RecursionError, expat.ExpatError):
            continue
        return True
    return False


def _attributes(text: str) -> list[int]:
    """The number of attributes of each element of a document."""
    counts: list[int] = []
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda name, attributes: counts.append(len(attributes))
    parser.EntityDeclHandler = _refuse
    parser.Parse(text.strip().encode("utf-8", "replace"), True)
    return counts


def _depth(value: Any, depth: int = 0) -> int:
    """Depth of nested objects; lists between them do not count."""
    if depth > DEEPEST or not isinstance(value, dict | list):
        return depth
    children, own = (value.values(), 1) if isinstance(value, dict) else (value, 0)
    return max((_depth(child, depth + own) for child in children), default=depth + own)


def _refuse(*found: Any) -> None:
    raise ValueError(f"it holds {found[0]!r}")
