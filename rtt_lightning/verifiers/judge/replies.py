"""Reads verdicts that a judge's reply states plainly; never guesses."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtt_lightning.verifiers.judge.silence import without_verdict

MET, UNMET = frozenset({"true", "yes", "met"}), frozenset({"false", "no", "not met", "unmet"})
"""Texts that are verdicts; "maybe", "not" or "know" are not."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdicts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "criterion": {"type": "integer"},
                    "reason": {"type": "string"},
                    "met": {"type": "boolean"},
                },
                "required": ["criterion", "reason", "met"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["verdicts"],
    "additionalProperties": False,
}
"""The form of replies for servers that can follow a schema: the reason before the verdict."""


LONGEST, MOST_BRACES = 50_000, 200
"""Most characters of a reply, and most braces in it, that are read."""


@dataclass(frozen=True)
class Opinion:
    """A judge's verdict on one criterion."""

    met: bool
    reason: str


@dataclass(frozen=True)
class Reading:
    """The content of a reply.

    Attributes:
        opinions: Plainly stated ones, by the criterion's number, from 1.
        problem: Why others are missing; empty if none is.
    """

    opinions: Mapping[int, Opinion]
    problem: str


def read_reply(text: str, criteria: int) -> Reading:
    """The verdicts that a reply states outside its thinking.

    Two verdicts on a criterion count as none. A number beyond the criteria invalidates all: they may be shifted. A
    reply may quote the response that it judges, with fake verdicts; so objects that cannot be read are ignored, and
    verdicts that contradict each other, or are followed by words, do not count.

    Args:
        text: The reply; prose before the object, fences, single quotes and trailing commas do not matter.
        criteria: How many were asked about.
    """
    text = whole = text.strip()[:LONGEST]
    entries = _entries(_json(text))  # a server that follows the schema writes nothing else
    if not entries and text.startswith("<think>"):
        _, ended, text = text.partition("</think>")
        if not ended:
            return Reading({}, "the judge did not finish thinking")
    elif not entries and "{" not in text.partition("</think>")[0]:
        text = text.rpartition("</think>")[2]
    stated, rest = ([entries], "") if entries else _stated(text)
    if not stated:
        return Reading({}, without_verdict(text, reasoning=text != whole))
    if re.search(r"\w", rest):
        return Reading({}, "the judge's reply goes on after its verdicts, which it may only quote")
    readings = [_read_entries(entries, criteria) for entries in stated]
    *others, last = readings
    settled = {
        number: opinion
        for number, opinion in last.opinions.items()
        if all(number not in other.opinions or other.opinions[number].met == opinion.met for other in others)
    }
    missing = [number for number in range(1, criteria + 1) if number not in settled]
    plain = f"the judge's reply has no plain verdict on criterion {missing[0]}" if missing else ""
    return Reading(settled, last.problem or plain)


def _stated(text: str) -> tuple[list[list[Mapping[str, Any]]], str]:
    """The verdicts of each object with any (only those in the requested form, if any), and the text after the last."""
    found = [(value, entries, end) for value, end in _objects(text) if (entries := _entries(value))]
    found = [each for each in found if "verdicts" in each[0]] or found
    return [entries for _, entries, _ in found], text[found[-1][2] :] if found else ""


def _read_entries(entries: Sequence[Mapping[str, Any]], criteria: int) -> Reading:
    opinions: dict[int, Opinion] = {}
    seen, doubled = set[int](), set[int]()
    for entry in entries:
        number = entry.get("criterion", 1 if criteria == len(entries) == 1 else None)
        if isinstance(number, str) and re.fullmatch(r"\s*\d{1,3}\s*", number):
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= criteria:
            return Reading({}, f"the judge's reply has a verdict on criterion {str(number)[:20]!r} of {criteria}")
        met = _decision(entry["met"])
        doubled |= {number} & seen
        seen.add(number)
        if met is not None:
            reason = " ".join(str(entry.get("reason") or "").split())[:300]
            opinions[number] = Opinion(met, reason.encode("utf-8", "backslashreplace").decode())
    return Reading({number: said for number, said in opinions.items() if number not in doubled}, "")


def _decision(value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip().casefold()
        return True if word in MET else False if word in UNMET else None
    return value if isinstance(value, bool) else None


def _entries(value: Any) -> list[Mapping[str, Any]]:
    """The verdicts in an object."""
    if not isinstance(value, dict):
        return []
    listed = value.get("verdicts", [value])
    entries = listed if isinstance(listed, list) else [listed]
    return entries if all(isinstance(entry, dict) and "met" in entry for entry in entries) else []


def _objects(text: str) -> Iterator[tuple[Any, int]]:
    """The values of the outermost pairs of braces, in order, and where each ends.

    Unreadable braces in prose are searched inside, unless they seem to hold verdicts, which may be quotations.
    """
    position = 0
    for _ in range(MOST_BRACES):
        start = text.find("{", position)
        if start < 0:
            return
        end = _closing(text, start) or len(text)
        value = _value(text[start:end])
        if value is not None:
            yield value, end
            position = end
        elif any(name in text[start:end] for name in ("verdicts", "criterion", "reason")):
            position = end
        else:
            position = start + 1


def _closing(text: str, start: int) -> int:
    """Position after the brace that closes the one at ``start``; 0 without one."""
    depth, quote, position = 0, "", start
    while position < len(text):
        character = text[position]
        if quote:
            position += character == "\\"
            if character == quote:
                quote = ""
        elif character == '"' or (character == "'" and text[position - 1] in " {[:,\n"):
            quote = character
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return position + 1
        position += 1
    return 0


def _value(text: str) -> Any:
    """The value of JSON, also with trailing commas, or of Python's notation; ``None`` if unreadable."""
    for reading in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        if (value := _json(reading)) is not None:
            return value
    names = {"true": "True", "false": "False", "null": "None"}
    try:
        tree = ast.parse(re.sub(r"\b(?:true|false|null)\b", lambda match: names[match[0]], text.strip()), mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                _once([(ast.dump(key), None) for key in node.keys if key is not None])
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; raises ValueError if a name occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found
