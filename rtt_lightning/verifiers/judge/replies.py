"""What a judge's reply says: verdicts that it states plainly, and nothing that would have to be guessed."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MET, UNMET = frozenset({"true", "yes", "met"}), frozenset({"false", "no", "not met", "unmet"})
"""Texts that are verdicts; "maybe", "not" or "know" are none."""
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
"""What a server that can is made to write: the reason before the verdict."""


@dataclass(frozen=True)
class Opinion:
    """A judge's verdict on one criterion."""

    met: bool
    reason: str


@dataclass(frozen=True)
class Reading:
    """What was read in a reply.

    Attributes:
        opinions: By the criterion's number, from 1: those stated plainly.
        problem: Why others are missing; empty where none is.
    """

    opinions: Mapping[int, Opinion]
    problem: str


def read_reply(text: str, criteria: int) -> Reading:
    """The verdicts of the last object in a reply, outside its thinking, that holds any.

    A criterion with two verdicts has none. A number beyond the criteria makes all doubtful: they may be shifted.

    Args:
        text: The reply; prose, fences, single quotes and trailing commas around or in the object do not matter.
        criteria: How many were asked about.
    """
    if "<think>" in text and "</think>" not in text:
        return Reading({}, "the judge did not come to an end of its thinking")
    stated = [entries for entries in map(_entries, _objects(text.rpartition("</think>")[2])) if entries]
    if not stated:
        return Reading({}, "the judge's reply holds no verdict")
    opinions: dict[int, Opinion] = {}
    doubled = set()
    for entry in stated[-1]:
        number = entry.get("criterion", 1 if criteria == len(stated[-1]) == 1 else None)
        if isinstance(number, str) and number.strip().isdecimal():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= criteria:
            return Reading({}, f"the judge's reply has a verdict on criterion {str(number)[:20]!r} of {criteria}")
        met = _decision(entry["met"])
        if number in opinions:
            doubled.add(number)
        elif met is not None:
            opinions[number] = Opinion(met, " ".join(str(entry.get("reason") or "").split())[:300])
    settled = {number: opinion for number, opinion in opinions.items() if number not in doubled}
    missing = [number for number in range(1, criteria + 1) if number not in settled]
    return Reading(settled, f"the judge's reply has no plain verdict on criterion {missing[0]}" if missing else "")


def _decision(value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip().casefold()
        return True if word in MET else False if word in UNMET else None
    return value if isinstance(value, bool) else None


def _entries(value: Any) -> list[Mapping[str, Any]]:
    """The verdicts that an object holds."""
    if not isinstance(value, dict):
        return []
    listed = value.get("verdicts", [value])
    entries = listed if isinstance(listed, list) else [listed]
    return entries if all(isinstance(entry, dict) and "met" in entry for entry in entries) else []


def _objects(text: str) -> Iterator[Any]:
    """The values of the outermost pairs of braces, in order; what cannot be read is looked into for smaller ones."""
    position = 0
    while (start := text.find("{", position)) >= 0:
        end = _closing(text, start)
        value = _value(text[start:end]) if end else None
        if value is None:
            position = start + 1
        else:
            yield value
            position = end


def _closing(text: str, start: int) -> int:
    """Behind the brace that closes the one at ``start``; 0 if none does."""
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
    for reading in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        try:
            return json.loads(reading, strict=False)
        except (json.JSONDecodeError, RecursionError):
            continue
    names = {"true": "True", "false": "False", "null": "None"}
    try:
        return ast.literal_eval(re.sub(r"\b(?:true|false|null)\b", lambda match: names[match[0]], text))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
