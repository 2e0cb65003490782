"""The one record schema, and its reading from JSONL and parquet.

A record is a prompt with its rubric, and optionally one judged response to it:

    id        string, optional: defaults to "<file name>:<line>"
    messages  list of {"role", "content"}; or `prompt`, a string, for a single user message
    task      string, optional: the bare task without its criteria
    criteria  list of {"text", "checker", "kwargs"?, "weight"?, "met"?, "reason"?, "spans"?}; in parquet also as JSON
    response  string, optional; then `met` (true, false or null) stands in every criterion

The completions that `rtt validate` and `rtt predict` write follow it, so they can be read again as labelled data.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rtt_lightning.types import Criterion, RubricSample, Verdict

MAX_LISTED = 20


@dataclass(frozen=True)
class Record:
    """A prompt with its rubric; with ``response`` also one judged response, a verdict per criterion."""

    sample: RubricSample
    response: str | None = None
    verdicts: tuple[Verdict, ...] = ()


def read_records(path: str | Path) -> list[Record]:
    """All records of a ``.jsonl`` or ``.parquet`` file.

    Raises:
        ValueError: One error that lists every bad row by line and field; or for a missing, empty or unknown file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no data file at {path}; give the path of a .jsonl or .parquet file")
    records: list[Record] = []
    problems: list[str] = []
    rows = 0
    for line, row in _rows(path):
        rows += 1
        try:
            records.append(parse_record(row, f"{path.name}:{line}"))
        except ValueError as error:
            problems.append(f"  line {line}: {error}")
    if problems:
        more = [f"  ... and {len(problems) - MAX_LISTED} more"] if len(problems) > MAX_LISTED else []
        listed = "\n".join(problems[:MAX_LISTED] + more)
        raise ValueError(f"{path}: {len(problems)} of {rows} rows are not valid records\n{listed}")
    if not records:
        raise ValueError(f"{path} holds no records; it needs at least one row")
    return records


def parse_record(row: Any, default_id: str) -> Record:
    """Validate one row of data.

    Raises:
        ValueError: Naming the field, what it holds and how to mend it.
    """
    if isinstance(row, _Unreadable):
        raise ValueError(f"not JSON: {row.reason}")
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object with `prompt` or `messages` and `criteria`, got {type(row).__name__}")
    criteria = _criteria(row)
    sample = RubricSample(
        id=str(row.get("id") or default_id),
        messages=_messages(row),
        criteria=tuple(_criterion(entry, f"criteria[{i}]") for i, entry in enumerate(criteria)),
        task=_text(row, "task", optional=True),
    )
    response = _text(row, "response", optional=True)
    if response is None:
        return Record(sample)
    return Record(sample, response, tuple(_verdict(entry, f"criteria[{i}]") for i, entry in enumerate(criteria)))


@dataclass(frozen=True)
class _Unreadable:
    reason: str


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows with their line (JSONL) or row (parquet) number, from 1."""
    if path.suffix == ".parquet":
        yield from enumerate(pq.read_table(path).to_pylist(), start=1)
    elif path.suffix == ".jsonl":
        try:
            with path.open(encoding="utf-8") as lines:
                yield from ((number, _parse_json(line)) for number, line in enumerate(lines, start=1) if line.strip())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    else:
        raise ValueError(f"unknown kind of data file {path}; expected .jsonl or .parquet")


def _parse_json(line: str) -> Any:
    try:
        value = json.loads(line)
        json.dumps(value, ensure_ascii=False).encode()  # what cannot be encoded, no tokenizer or file takes
    except json.JSONDecodeError as error:
        return _Unreadable(f"{error.msg} at column {error.colno}")
    except UnicodeEncodeError as error:
        return _Unreadable(f"\\u{ord(error.object[error.start]):04x} is half a character; write both halves or none")
    return value


def _messages(row: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    messages = row.get("messages")
    if messages is None:
        prompt = _text(row, "prompt", optional=True)
        if not prompt:
            raise ValueError("field `prompt` (a string) or `messages` (a list) is missing; add one of them")
        return ({"role": "user", "content": prompt},)
    valid = isinstance(messages, list) and all(
        isinstance(m, Mapping) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in messages
    )
    if not valid or not messages:
        raise ValueError(f"field `messages` must be a list of {{role, content}} strings, got {str(messages)[:80]}")
    return tuple({"role": m["role"], "content": m["content"]} for m in messages)


def _criteria(row: Mapping[str, Any]) -> list[Any]:
    criteria = row.get("criteria")
    if isinstance(criteria, str):
        criteria = _parse_json(criteria)
    if not isinstance(criteria, list) or not criteria:
        shown = criteria.reason if isinstance(criteria, _Unreadable) else repr(criteria)[:80]
        raise ValueError(f"field `criteria` must be a list with at least one criterion, got {shown}")
    return criteria


def _criterion(entry: Any, where: str) -> Criterion:
    if not isinstance(entry, Mapping):
        raise ValueError(f"field `{where}` must be an object with `text` and `checker`, got {str(entry)[:80]}")
    text, checker = _text(entry, "text", where), _text(entry, "checker", where)
    kwargs, weight = entry.get("kwargs") or {}, entry.get("weight", 1.0)
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"field `{where}.kwargs` must be an object, got {str(kwargs)[:80]}")
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"field `{where}.weight` must be a number, got {weight!r}")
    try:
        return Criterion(str(text), str(checker), dict(kwargs), float(weight))
    except ValueError as error:
        raise ValueError(f"field `{where}`: {error}") from error


def _verdict(entry: Mapping[str, Any], where: str) -> Verdict:
    met, spans = entry.get("met"), entry.get("spans")
    if "met" not in entry or not (met is None or isinstance(met, bool)):
        raise ValueError(f"field `{where}.met` must be true, false or null beside a `response`, got {met!r}")
    if spans is not None and not all(isinstance(s, list | tuple) and len(s) == 2 for s in spans):
        raise ValueError(f"field `{where}.spans` must be a list of [start, end] pairs, got {str(spans)[:80]}")
    ranges = None if spans is None else tuple((int(a), int(b)) for a, b in spans)
    return Verdict(met, str(entry.get("reason") or ""), ranges)


def _text(row: Mapping[str, Any], name: str, where: str = "", optional: bool = False) -> str | None:
    value = row.get(name)
    label = f"{where}.{name}" if where else name
    if value is None and optional:
        return None
    if value is None:
        raise ValueError(f"field `{label}` is missing; add it as a string")
    if not isinstance(value, str):
        raise ValueError(f"field `{label}` must be a string, got {type(value).__name__} {str(value)[:60]}")
    return value
