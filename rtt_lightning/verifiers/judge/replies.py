"""Reads what a reply of a judge, or of an annotator, states plainly on each criterion; never guesses."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rtt_lightning.verifiers.judge.evidence import EVIDENCE, Evidence
from rtt_lightning.verifiers.judge.silence import without_verdict

Said = TypeVar("Said")
MET, UNMET = frozenset({"true", "yes", "met"}), frozenset({"false", "no", "not met", "unmet"})
"""Texts that are verdicts; "maybe", "not" or "know" are not."""
LONGEST, MOST_BRACES = 50_000, 200
"""Most characters of a reply, and most braces in it, that are read."""


def schema_of(listed: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The form of replies, for servers that can follow a schema: a list of an object per criterion, with its number."""
    fields = {"criterion": {"type": "integer"}, **properties}
    item = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    whole = {listed: {"type": "array", "items": item}}
    return {"type": "object", "properties": whole, "required": [listed], "additionalProperties": False}


SCHEMA = schema_of("verdicts", {"reason": {"type": "string"}, "met": {"type": "boolean"}})
"""The reason before the verdict."""
SCHEMA_WITH_EVIDENCE = schema_of("verdicts", {"reason": {"type": "string"}, **EVIDENCE, "met": {"type": "boolean"}})


@dataclass(frozen=True)
class Opinion:
    """A judge's verdict on one criterion, with what it quotes as evidence if it was asked for that."""

    met: bool
    reason: str
    evidence: Evidence | None = None

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again."""
        return {"met": self.met, "reason": self.reason, **(self.evidence.to_row() if self.evidence else {})}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Opinion | None":
        """What `to_row` made, or an entry of a reply; ``None`` without a plain verdict."""
        met = _decision(row.get("met"))
        return None if met is None else cls(met, reason_in(row), Evidence.from_row(row))


@dataclass(frozen=True)
class Form(Generic[Said]):
    """What replies look like: an object with a list of entries, one per criterion.

    Attributes:
        listed: Name of the list.
        needed: The field that makes an object an entry.
        read: What an entry says; ``None`` if it does not say it plainly.
        agree: Whether two entries on one criterion say the same.
        what: What an entry is, for messages.
    """

    listed: str
    needed: str
    read: Callable[[Mapping[str, Any]], Said | None]
    agree: Callable[[Said, Said], bool]
    what: str


VERDICTS: Form[Opinion] = Form(
    "verdicts", "met", Opinion.from_row, lambda one, other: one.met == other.met, what="verdict"
)


@dataclass(frozen=True)
class Reading(Generic[Said]):
    """The content of a reply.

    Attributes:
        opinions: What it plainly states, by the criterion's number, from 1.
        problem: Why others are missing; empty if none is.
    """

    opinions: Mapping[int, Said]
    problem: str


def read_reply(text: str, criteria: int) -> Reading[Opinion]:
    """The verdicts that a reply states outside its thinking, see `read_entries`."""
    return read_entries(text, criteria, VERDICTS)


def read_entries(text: str, criteria: int, form: Form[Said]) -> Reading[Said]:
    """What a reply states of each criterion, outside its thinking.

    Two entries on a criterion count as none. A number beyond the criteria invalidates all: they may be shifted. A
    reply may quote the response that it is about, with fake entries; so objects that cannot be read are ignored, and
    entries that contradict each other, or are followed by words, do not count.

    Args:
        text: The reply; prose before the object, fences, single quotes and trailing commas do not matter.
        criteria: How many were asked about.
        form: Of the reply.
    """
    text = whole = text.strip()[:LONGEST]
    entries = _entries(_json(text), form)  # a server that follows the schema writes nothing else
    if not entries and text.startswith("<think>"):
        _, ended, text = text.partition("</think>")
        if not ended:
            return Reading({}, "the judge did not finish thinking")
    elif not entries and "{" not in text.partition("</think>")[0]:
        text = text.rpartition("</think>")[2]
    stated, rest = ([entries], "") if entries else _stated(text, form)
    if not stated:
        return Reading({}, without_verdict(text, reasoning=text != whole, what=form.what))
    if re.search(r"\w", rest):
        return Reading({}, f"the judge's reply goes on after its {form.what}s, which it may only quote")
    readings = [_read_entries(entries, criteria, form) for entries in stated]
    *others, last = readings
    settled = {
        number: said
        for number, said in last.opinions.items()
        if all(number not in other.opinions or form.agree(other.opinions[number], said) for other in others)
    }
    missing = [number for number in range(1, criteria + 1) if number not in settled]
    plain = f"the judge's reply has no plain {form.what} on criterion {missing[0]}" if missing else ""
    return Reading(settled, last.problem or plain)


def reason_in(entry: Mapping[str, Any]) -> str:
    """The reason that an entry gives, as one short line."""
    reason = " ".join(str(entry.get("reason") or "").split())[:300]
    return reason.encode("utf-8", "backslashreplace").decode()


def _stated(text: str, form: Form[Any]) -> tuple[list[list[Mapping[str, Any]]], str]:
    """The entries of each object with any (only those in the requested form, if any), and the text after the last."""
    found = [(value, entries, end) for value, end in _objects(text, form) if (entries := _entries(value, form))]
    found = [each for each in found if form.listed in each[0]] or found
    return [entries for _, entries, _ in found], text[found[-1][2] :] if found else ""


def _read_entries(entries: Sequence[Mapping[str, Any]], criteria: int, form: Form[Said]) -> Reading[Said]:
    found: dict[int, Said] = {}
    seen, doubled = set[int](), set[int]()
    for entry in entries:
        number = entry.get("criterion", 1 if criteria == len(entries) == 1 else None)
        if isinstance(number, str) and re.fullmatch(r"\s*\d{1,3}\s*", number):
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= criteria:
            problem = f"the judge's reply has a {form.what} on criterion {str(number)[:20]!r} of {criteria}"
            return Reading({}, problem)
        doubled |= {number} & seen
        seen.add(number)
        if (said := form.read(entry)) is not None:
            found[number] = said
    return Reading({number: said for number, said in found.items() if number not in doubled}, "")


def _decision(value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip().casefold()
        return True if word in MET else False if word in UNMET else None
    return value if isinstance(value, bool) else None


def _entries(value: Any, form: Form[Any]) -> list[Mapping[str, Any]]:
    """The entries in an object."""
    if not isinstance(value, dict):
        return []
    listed = value.get(form.listed, [value])
    entries = listed if isinstance(listed, list) else [listed]
    return entries if all(isinstance(entry, dict) and form.needed in entry for entry in entries) else []


def _objects(text: str, form: Form[Any]) -> Iterator[tuple[Any, int]]:
    """The values of the outermost pairs of braces, in order, and where each ends.

    Unreadable braces in prose are searched inside, unless they seem to hold entries, which may be quotations.
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
        elif any(name in text[start:end] for name in (form.listed, "criterion", "reason")):
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
