"""The one record schema, and its reading from JSONL and parquet.

A record is a prompt with its rubric, and optionally one judged response to it:

    id        string, optional: defaults to "<file name>:<line>"
    messages  list of {"role", "content"}, which a user's turn ends; or `prompt`, a string, for a single user message
    task      string, optional: the bare task without its criteria
    criteria  list of {"text", "checker", "kwargs"?, "weight"?, "met"?, "reason"?, "spans"?, "scope"?}; in parquet also
              as JSON
    response  string, optional; then `met` (true, false or null) stands in every criterion, and `spans` may: [start,
              end] pairs of its characters, end excluded; `scope` is "local", or "global" where all are relevant

The completions that `rtt validate` and `rtt predict` write follow it, so they can be read again as labelled data.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.adapters import FORMATS
from rtt_lightning.datamodules.adapters.base import Adapter, Native
from rtt_lightning.datamodules.conversations import conversation, refuse_tools
from rtt_lightning.datamodules.fields import arguments, number, text
from rtt_lightning.datamodules.rows import Rows, Unreadable, parse_json, read_rows
from rtt_lightning.types import Criterion, Message, RubricSample, Verdict

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
        ValueError: One error that lists what is wrong with rows, see `sift`; or for no rows at all.
    """
    records, problems, bad = sift(rows, adapter)
    if problems:
        total = len(records) + bad
        raise ValueError(f"{rows.name}: {bad} of {total} rows are not valid records\n{listed(problems)}")
    if not records:
        raise ValueError(f"{rows.name} holds no records; it needs at least one row")
    return records


def listed(problems: Sequence[str]) -> str:
    """The first of them, a line each, and how many more there are."""
    more = [f"... and {len(problems) - MAX_LISTED} more"] if len(problems) > MAX_LISTED else []
    return "\n".join(f"  {line}" for line in [*problems[:MAX_LISTED], *more])


def sift(rows: Rows, adapter: Adapter) -> tuple[list[Record], list[str], int]:
    """Records; what is wrong with the other rows, each reason once with its lines; and how many those are.

    Where a field is missing in all rows, the last problem says which fields they have, and which format reads them.
    """
    records, lines, first = [], dict[str, list[int]](), dict[str, int]()
    advice = ""
    for line, row in rows.numbered:
        try:
            record = _adapted(row, adapter, f"{rows.name}:{line}")
            seen = first.setdefault(record.sample.id, line)
            if seen != line and record.response is None:
                raise ValueError(f"field `id` is {record.sample.id!r}, as on line {seen}; each prompt needs its own")
            records.append(record)
        except KeyError as error:
            lines.setdefault(f"field `{error.args[0]}` is missing", []).append(line)
            advice = advice or _advice(row, line)
        except ValueError as error:
            lines.setdefault(str(error), []).append(line)
    problems = [f"{_numbered(found)}: {reason}" for reason, found in lines.items()]
    return records, problems + [advice] * bool(advice and not records), sum(map(len, lines.values()))


def _adapted(row: Any, adapter: Adapter, default_id: str) -> Record:
    if not isinstance(row, Mapping):
        return parse_record(row, default_id)
    refuse_tools(row)
    return parse_record(adapter(row), default_id)


def _numbered(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:3])) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")
    return f"line{'s' * (len(lines) > 1)} {shown}"


def _advice(row: Mapping[str, Any], line: int) -> str:
    fits = [name for name, kind in FORMATS.items() if _reads(kind(), row)]
    mend = (
        f"format {' or '.join(fits)} reads them"
        if fits
        else "no shipped format reads them: an adapter of your own takes ten lines, see tutorials/03_your_own_data.py"
    )
    return f"the fields of line {line} are {', '.join(map(str, row))[:300]}; {mend}"


def _reads(adapter: Adapter, row: Mapping[str, Any]) -> bool:
    try:
        return bool(_adapted(row, adapter, "it"))
    except (KeyError, ValueError):
        return False


def parse_record(row: Any, default_id: str) -> Record:
    """Validate one row of data.

    Raises:
        ValueError: Naming the field, what it holds and how to mend it.
        KeyError: For a prompt or a rubric that is missing.
    """
    if isinstance(row, Unreadable):
        raise ValueError(f"not JSON: {row.reason}")
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object with `prompt` or `messages` and `criteria`, got {type(row).__name__}")
    criteria = _criteria(row)
    sample = RubricSample(
        id=_id(row.get("id"), default_id),
        messages=_messages(row),
        criteria=tuple(_criterion(entry, f"criteria[{i}]") for i, entry in enumerate(criteria)),
        task=text(row, "task", optional=True),
    )
    response = text(row, "response", optional=True)
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


def _id(value: Any, default: str) -> str:
    """As a text; the default where there is none. pandas makes floats of whole numbers."""
    if value is None or value == "" or value != value:
        return default
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    if row.get("messages") is not None:
        return conversation(row["messages"], "messages")
    prompt = text(row, "prompt", optional=True)
    if prompt is None:
        raise KeyError("prompt` or `messages")
    if not prompt.strip():
        raise ValueError("field `prompt` is empty; write what is asked")
    return ({"role": "user", "content": prompt},)


def _criteria(row: Mapping[str, Any]) -> list[Any]:
    criteria = row["criteria"]
    if isinstance(criteria, str):
        criteria = parse_json(criteria)
    if not isinstance(criteria, list) or not criteria:
        shown = criteria.reason if isinstance(criteria, Unreadable) else repr(criteria)[:80]
        raise ValueError(f"field `criteria` must be a list with at least one criterion, got {shown}")
    return criteria


def _criterion(entry: Any, where: str) -> Criterion:
    if not isinstance(entry, Mapping):
        raise ValueError(f"field `{where}` must be an object with `text` and `checker`, got {str(entry)[:80]}")
    said, checker = text(entry, "text", where), text(entry, "checker", where)
    kwargs = arguments(entry.get("kwargs"), f"{where}.kwargs")
    weight = 1.0 if entry.get("weight") is None else number(entry["weight"], f"{where}.weight")
    try:
        return Criterion(str(said), str(checker), kwargs, weight)
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
