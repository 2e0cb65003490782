"""The one record schema, and its reading from JSONL and parquet.

A record is a prompt with its rubric, and optionally one judged response to it:

    id        string, optional: defaults to "<file name>:<line>"
    messages  list of {"role", "content"}; or `prompt`, a string, for a single user message
    task      string, optional: the bare task without its criteria
    criteria  list of {"text", "checker", "kwargs"?, "weight"?, "met"?, "reason"?, "spans"?, "scope"?}; in parquet also
              as JSON
    response  string, optional; then `met` (true, false or null) stands in every criterion, and `spans` may: [start,
              end] pairs of its characters, end excluded; `scope` is "local", or "global" where all are relevant

The completions that `rtt validate` and `rtt predict` write follow it, so they can be read again as labelled data.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Native
from rtt_lightning.datamodules.rows import Rows, Unreadable, parse_json, read_rows
from rtt_lightning.types import Criterion, RubricSample, Verdict

MAX_LISTED = 20


@dataclass(frozen=True)
class Record:
    """A prompt with its rubric; with ``response`` also one judged response, a verdict per criterion."""

    sample: RubricSample
    response: str | None = None
    verdicts: tuple[Verdict, ...] = ()


def read_records(path: str | Path, adapter: Adapter | None = None) -> list[Record]:
    """All records of a file or dataset, see `rtt_lightning.datamodules.rows` and `parse_rows`."""
    return parse_rows(read_rows(path), adapter or Native())


def parse_rows(rows: Rows, adapter: Adapter) -> list[Record]:
    """Records of rows in the format of an adapter.

    Raises:
        ValueError: One error that lists every bad row by line and field; or for no rows at all.
    """
    records, problems = [], []
    for line, result in each_record(rows, adapter):
        if isinstance(result, Record):
            records.append(result)
        else:
            problems.append(f"line {line}: {result}")
    if problems:
        total = len(records) + len(problems)
        raise ValueError(f"{rows.name}: {len(problems)} of {total} rows are not valid records\n{listed(problems)}")
    if not records:
        raise ValueError(f"{rows.name} holds no records; it needs at least one row")
    return records


def listed(problems: Sequence[str]) -> str:
    """The first of them, a line each, and how many more there are."""
    more = [f"... and {len(problems) - MAX_LISTED} more"] if len(problems) > MAX_LISTED else []
    return "\n".join(f"  {line}" for line in [*problems[:MAX_LISTED], *more])


def each_record(rows: Rows, adapter: Adapter) -> Iterator[tuple[int, Record | ValueError]]:
    """Every row's line with its record, or with what is wrong with it. Ids of prompts must be unique."""
    lines: dict[str, int] = {}
    for line, row in rows.numbered:
        try:
            record = parse_record(adapter(row) if isinstance(row, Mapping) else row, f"{rows.name}:{line}")
            first = lines.setdefault(record.sample.id, line)
            if first != line and record.response is None:
                raise ValueError(f"field `id` is {record.sample.id!r}, as on line {first}; each prompt needs its own")
            yield line, record
        except KeyError as error:  # of an adapter
            yield line, ValueError(f"field `{error.args[0]}` is missing; is this the format that was named?")
        except ValueError as error:
            yield line, error


def parse_record(row: Any, default_id: str) -> Record:
    """Validate one row of data.

    Raises:
        ValueError: Naming the field, what it holds and how to mend it.
    """
    if isinstance(row, Unreadable):
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
    verdicts = (_verdict(entry, f"criteria[{i}]", len(response)) for i, entry in enumerate(criteria))
    return Record(sample, response, tuple(verdicts))


def criterion_row(criterion: Criterion, verdict: Verdict | None = None) -> dict[str, Any]:
    """A criterion, with its verdict where a response was judged, as `parse_record` reads it again."""
    row = {
        "text": criterion.text,
        "checker": criterion.checker,
        "kwargs": dict(criterion.kwargs),
        "weight": criterion.weight,
    }
    if verdict is None:
        return row
    said = {"met": verdict.met, "reason": verdict.reason, "spans": verdict.spans, "flags": verdict.flags}
    return row | said | {"scope": verdict.scope}


def criteria_json(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> str:
    """A rubric with a response's verdicts as one JSON text: parquet wants arguments of all checkers to be alike."""
    return json.dumps([criterion_row(c, verdict) for c, verdict in zip(criteria, verdicts, strict=True)])


def sample_row(sample: RubricSample) -> dict[str, Any]:
    """A prompt with its rubric, as `parse_record` reads it again."""
    criteria = [criterion_row(criterion) for criterion in sample.criteria]
    return {"id": sample.id, "messages": list(sample.messages), "task": sample.task, "criteria": criteria}


def is_conversation(value: Any) -> bool:
    """Whether it is a list of {role, content} texts, at least one."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(m, Mapping) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def _messages(row: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    messages = row.get("messages")
    if messages is None:
        prompt = _text(row, "prompt", optional=True)
        if not prompt:
            raise ValueError("field `prompt` (a string) or `messages` (a list) is missing; add one of them")
        return ({"role": "user", "content": prompt},)
    if not is_conversation(messages):
        raise ValueError(f"field `messages` must be a list of {{role, content}} strings, got {str(messages)[:80]}")
    return tuple({"role": m["role"], "content": m["content"]} for m in messages)


def _criteria(row: Mapping[str, Any]) -> list[Any]:
    criteria = row.get("criteria")
    if isinstance(criteria, str):
        criteria = parse_json(criteria)
    if not isinstance(criteria, list) or not criteria:
        shown = criteria.reason if isinstance(criteria, Unreadable) else repr(criteria)[:80]
        raise ValueError(f"field `criteria` must be a list with at least one criterion, got {shown}")
    return criteria


def _criterion(entry: Any, where: str) -> Criterion:
    if not isinstance(entry, Mapping):
        raise ValueError(f"field `{where}` must be an object with `text` and `checker`, got {str(entry)[:80]}")
    text, checker = _text(entry, "text", where), _text(entry, "checker", where)
    kwargs, weight = entry.get("kwargs") or {}, entry.get("weight", 1.0)
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"field `{where}.kwargs` must be an object, got {str(kwargs)[:80]}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or abs(weight) > sys.float_info.max:
        raise ValueError(f"field `{where}.weight` must be a finite number, got {str(weight)[:80]}")
    try:
        return Criterion(str(text), str(checker), dict(kwargs), float(weight))
    except ValueError as error:
        raise ValueError(f"field `{where}`: {error}") from error


def _verdict(entry: Mapping[str, Any], where: str, length: int) -> Verdict:
    met, spans, flags = entry.get("met"), entry.get("spans"), entry.get("flags") or ()
    if "met" not in entry or not (met is None or isinstance(met, bool)):
        raise ValueError(f"field `{where}.met` must be true, false or null beside a `response`, got {met!r}")
    if spans is not None and not _is_list(spans, lambda span: _is_span(span, length)):
        raise ValueError(
            f"field `{where}.spans` must be a list of [start, end] pairs of integers within the {length} characters of "
            f"`response`, 0 <= start <= end <= {length}, got {str(spans)[:80]}"
        )
    if not _is_list(flags, lambda flag: isinstance(flag, str)):
        raise ValueError(f"field `{where}.flags` must be a list of strings, got {str(flags)[:80]}")
    scope = entry.get("scope") or "local"
    if scope not in ("global", "local"):
        raise ValueError(f"field `{where}.scope` must be global or local, got {str(scope)[:80]!r}")
    ranges = None if spans is None else tuple((start, end) for start, end in spans)
    return Verdict(met, str(entry.get("reason") or ""), ranges, tuple(flags), scope)


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(fits, value))


def _is_span(value: Any, length: int) -> bool:
    pair = _is_list(value, lambda bound: type(bound) is int) and len(value) == 2  # a bool is no int here
    return pair and 0 <= value[0] <= value[1] <= length


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
