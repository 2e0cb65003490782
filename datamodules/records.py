"""The one record schema, and how it is read from JSONL and parquet.

A record is a prompt with its rubric, and optionally one judged response to it:

    id        string, optional: defaults to "<file name>:<line>"
    messages  list of {"role", "content"} that ends with a user turn; or `prompt`, a string: a single user message
    task      string, optional: the bare task without its criteria
    criteria  list of {"text", "checker", "kwargs"?, "weight"?, "hard"?, "met"?, "reason"?, "spans"?, "scope"?,
              "flags"?, "value"?, "confidence"?}; in parquet also as JSON. `hard` is true or false where the data says
              whether a criterion can be decided objectively
    response  string, optional; then every criterion has `met` (true, false or null), and may have `spans`: [start,
              end] pairs of its characters, end excluded; `scope` is "local", or "global" where all are relevant;
              `value`, to which degree it is met, and `confidence` are numbers in [0, 1]

The completions that `rtt validate` and `rtt predict` write follow it, so they can be read again as labelled data. They
also hold the tokens of each response, see `rtt_lightning.types.JudgedRollout.to_row`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.adapters import FORMATS
from rtt_lightning.datamodules.adapters.base import Adapter, Native
from rtt_lightning.datamodules.fields import arguments, number, refuse_unknown, text
from rtt_lightning.datamodules.rows import Rows, Unreadable, parse_json, read_rows
from rtt_lightning.runtime.terminal import listed
from rtt_lightning.types import Criterion, JudgedRollout, RubricSample
from rtt_lightning.types.conversations import refuse_tools
from rtt_lightning.types.errors import UserError
from rtt_lightning.types.response import RECORDED, SAMPLED
from rtt_lightning.types.rubric import checked_share

SHARES = ("value", "confidence")
KEYS = ("id", "prompt", "messages", "criteria", "task", "response", *SAMPLED, *RECORDED)
CRITERION_KEYS = ("text", "checker", "kwargs", "weight", "hard")
VERDICT_KEYS = ("met", "reason", "spans", "flags", "scope", "loose", *SHARES)
NEW = ("group_id", "prompt_ids", "answer_span", "logprobs")
"""Fields of a sampled response that version 0.1.0 did not write; the last may be unknown."""


@dataclass(frozen=True)
class Record:
    """A row of data: a prompt with its rubric, and perhaps a judged response to it."""

    sample: RubricSample
    judged: JudgedRollout | None = None


def read_records(path: str | Path, adapter: Adapter | None = None) -> list[Record]:
    """All records of a file or dataset, see `rtt_lightning.datamodules.rows` and `parse_rows`."""
    return parse_rows(read_rows(path), adapter or Native())


def read_judged(path: str | Path) -> list[JudgedRollout]:
    """The judged responses of a file, or of all parquet files of a folder, in order.

    Raises:
        UserError: If there are none, and as `parse_rows`.
    """
    files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [path]
    judged = [record.judged for file in files for record in read_records(file) if record.judged]
    if not judged:
        raise UserError(f"{path} holds no responses; `rtt fit`, `validate` and `predict` write them to rollout.output")
    return judged


def parse_rows(rows: Rows, adapter: Adapter) -> list[Record]:
    """Records of rows in the format of an adapter.

    Raises:
        UserError: One error that lists what is wrong with rows, see `sift`; or without any rows.
    """
    records, problems, bad = sift(rows, adapter)
    if problems:
        total = len(records) + bad
        raise UserError(f"{rows.name}: {bad} of {total} rows are not valid records\n{listed(problems)}")
    if not records:
        raise UserError(f"{rows.name} holds no records; it needs at least one row")
    return records


def sift(rows: Rows, adapter: Adapter) -> tuple[list[Record], list[str], int]:
    """Records, problems of the other rows (each once, with its lines), and the number of those rows.

    If a field is missing in all rows, the last problem says which fields they have, and which format reads them.
    """
    records, lines, first = [], dict[str, list[int]](), dict[str, int]()
    advice = ""
    for line, row in rows.numbered:
        try:
            record = _adapted(row, adapter, f"{rows.name}:{line}")
            seen = first.setdefault(record.sample.id, line)
            if seen != line and record.judged is None:
                raise UserError(f"field `id` is {record.sample.id!r}, as on line {seen}; each prompt needs its own")
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
    fix = (
        f"format {' or '.join(fits)} reads them"
        if fits
        else "no shipped format reads them: an adapter of your own takes ten lines, see tutorials/03_your_own_data.py"
    )
    return f"the fields of line {line} are {', '.join(map(str, row))[:300]}; {fix}"


def _reads(adapter: Adapter, row: Mapping[str, Any]) -> bool:
    try:
        return bool(_adapted(row, adapter, "it"))
    except (KeyError, ValueError):
        return False


def parse_record(row: Any, default_id: str) -> Record:
    """Validate one row of data.

    Raises:
        UserError: Naming the field, what it holds and how to fix it.
        KeyError: For a missing prompt or rubric.
    """
    if isinstance(row, Unreadable):
        raise UserError(f"not JSON: {row.reason}")
    if not isinstance(row, Mapping):
        raise UserError(f"expected an object with `prompt` or `messages` and `criteria`, got {type(row).__name__}")
    refuse_unknown(row, KEYS, "the row", others=True)  # the user may have more columns
    entries = _criteria(row)
    sample = RubricSample(
        id=_id(row.get("id"), default_id),
        messages=_messages(row),
        criteria=tuple(_criterion(entry, f"criteria[{i}]") for i, entry in enumerate(entries)),
        task=text(row, "task", optional=True),
    )
    response = text(row, "response", optional=True)
    if response is None:
        return Record(sample)
    verdicts = [_verdict(entry, f"criteria[{i}]", len(response)) for i, entry in enumerate(entries)]
    known: dict[str, Any] = sample.to_row() | _tokens(row, response) | {"response": response}
    known["criteria"] = [criterion | said for criterion, said in zip(known["criteria"], verdicts, strict=True)]
    judged = JudgedRollout.from_row(known)
    return Record(judged.sample, judged)


def _tokens(row: Mapping[str, Any], response: str) -> dict[str, Any]:
    """The tokens of a sampled response; nothing if the row was not sampled by us, or its response changed."""
    if any(row.get(name) is None for name in SAMPLED if name not in NEW):
        return {}
    whole = str(row["text"])
    start, end = row.get("answer_span") or (len(whole) - len(response), len(whole))
    fits = whole[max(start, 0) : end] == response and len(row["offsets"]) == len(row["response_ids"])
    return {name: row.get(name) for name in SAMPLED + RECORDED} if fits else {}


def _id(value: Any, default: str) -> str:
    """The id as text, or the default. pandas turns whole numbers into floats."""
    if value is None or value == "" or value != value:
        return default
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _messages(row: Mapping[str, Any]) -> Any:
    """As `RubricSample` reads it."""
    if row.get("messages") is not None:
        return row["messages"]
    prompt = text(row, "prompt", optional=True)
    if prompt is None:
        raise KeyError("prompt` or `messages")
    if not prompt.strip():
        raise UserError("field `prompt` is empty; write what is asked")
    return ({"role": "user", "content": prompt},)


def _criteria(row: Mapping[str, Any]) -> list[Any]:
    criteria = row["criteria"]
    if isinstance(criteria, str):
        criteria = parse_json(criteria)
    if not isinstance(criteria, list) or not criteria:
        shown = criteria.reason if isinstance(criteria, Unreadable) else repr(criteria)[:80]
        raise UserError(f"field `criteria` must be a list with at least one criterion, got {shown}")
    return criteria


def _criterion(entry: Any, where: str) -> Criterion:
    if not isinstance(entry, Mapping):
        raise UserError(f"field `{where}` must be an object with `text` and `checker`, got {str(entry)[:80]}")
    refuse_unknown(entry, CRITERION_KEYS + VERDICT_KEYS, f"field `{where}`", others=False)
    said, checker = text(entry, "text", where), text(entry, "checker", where)
    kwargs, hard = arguments(entry.get("kwargs"), f"{where}.kwargs"), entry.get("hard")
    weight = 1.0 if entry.get("weight") is None else number(entry["weight"], f"{where}.weight")
    if not (hard is None or isinstance(hard, bool)):
        raise UserError(f"field `{where}.hard` must be true, false or null, got {hard!r:.80}")
    try:
        return Criterion(str(said), str(checker), kwargs, weight, hard)
    except ValueError as error:
        raise UserError(f"field `{where}`: {error}") from error


def _verdict(entry: Mapping[str, Any], where: str, length: int) -> dict[str, Any]:
    """As `Verdict.from_row` reads it."""
    met, spans, flags = entry.get("met"), entry.get("spans"), entry.get("flags") or ()
    if "met" not in entry or not (met is None or isinstance(met, bool)):
        raise UserError(f"field `{where}.met` must be true, false or null beside a `response`, got {met!r}")
    if spans is not None and not _is_list(spans, lambda span: _is_span(span, length)):
        raise UserError(
            f"field `{where}.spans` must be a list of [start, end] pairs of integers within the {length} characters of "
            f"`response`, 0 <= start <= end <= {length}, got {str(spans)[:80]}"
        )
    if not _is_list(flags, lambda flag: isinstance(flag, str)):
        raise UserError(f"field `{where}.flags` must be a list of strings, got {str(flags)[:80]}")
    scope = entry.get("scope") or "local"
    if scope not in ("global", "local"):
        raise UserError(f"field `{where}.scope` must be global or local, got {str(scope)[:80]!r}")
    said = {"met": met, "reason": str(entry.get("reason") or ""), "spans": spans, "flags": flags, "scope": scope}
    said |= {name: _share(entry[name], f"{where}.{name}") for name in SHARES if entry.get(name) is not None}
    loose = entry.get("loose")
    return said | {"loose": _verdict(loose, f"{where}.loose", length)} if isinstance(loose, Mapping) else said


def _share(value: Any, label: str) -> float:
    return checked_share(number(value, label), f"field `{label}`")


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(fits, value))


def _is_span(value: Any, length: int) -> bool:
    pair = _is_list(value, lambda bound: type(bound) is int) and len(value) == 2  # excludes bool
    return pair and 0 <= value[0] <= value[1] <= length
