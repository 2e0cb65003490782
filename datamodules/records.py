"""The one record schema, and how it is read from JSONL and parquet.

A record is a prompt with its rubric, and optionally one judged response to it:

    id        string, optional: defaults to "<file name>:<line>"
    messages  list of {"role", "content"} that ends with a user turn; or `prompt`, a string: a single user message
    task      string, optional: the bare task without its criteria
    criteria  list of {"text", "checker"?, "kwargs"?, "weight"?, "hard"?, "met"?, "reason"?, "spans"?, "scope"?,
              "flags"?, "value"?, "confidence"?}, or of texts; in parquet also as JSON. Without `checker` the text is
              read: a rule decides it if it is understood to the last word, else a judge. `hard` is true or false
              where the data says whether a criterion can be decided objectively
    response  string, optional; then every criterion has `met` (true, false or null), and may have `spans`: [start,
              end] pairs of its characters, end excluded; `scope` is "local", or "global" where all are relevant;
              `value`, to which degree it is met, and `confidence` are numbers in [0, 1]

The completions that `rtt validate` and `rtt predict` write follow it, so they can be read again as labelled data. They
also hold the tokens of each response, see `rtt_lightning.types.JudgedRollout.to_row`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.adapters import FORMATS
from rtt_lightning.datamodules.adapters.base import Adapter, Native
from rtt_lightning.datamodules.criteria import criteria_of, parse_criterion, parse_verdict
from rtt_lightning.datamodules.fields import refuse_unknown, text
from rtt_lightning.datamodules.rows import Rows, Unreadable, read_rows
from rtt_lightning.runtime.terminal import listed
from rtt_lightning.types import JudgedRollout, RubricSample
from rtt_lightning.types.conversations import refuse_tools
from rtt_lightning.types.errors import UserError
from rtt_lightning.types.response import RECORDED, SAMPLED

KEYS = ("id", "prompt", "messages", "criteria", "task", "response")
"""Of rows that people write; those of sampled responses are `SAMPLED` and `RECORDED`."""
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


def read_judged(path: str | Path, adapter: Adapter | None = None) -> list[JudgedRollout]:
    """The judged responses of a file, or of the parquet files of a folder, in order: of windows alone, if it holds any.

    Raises:
        UserError: If there are none, and as `parse_rows`.
    """
    folder = Path(path)
    windows = sorted(folder.glob("window-*.parquet"))  # evaluations lie beside them
    files = (windows or sorted(folder.glob("*.parquet"))) if folder.is_dir() else [path]
    judged = [record.judged for file in files for record in read_records(file, adapter) if record.judged]
    if not judged:
        raise UserError(
            f"{path} holds no responses; `rtt fit`, `validate` and `predict` write them to rollout.output, and rows "
            "of your own have them as `response`"
        )
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

    If a field is missing in all rows, the last problem says which fields they have, and which format has such ones.
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
    wrong = {name: _unreadable(kind(), row) for name, kind in FORMATS.items()}
    fits, almost = [name for name, why in wrong.items() if why == ""], [name for name, why in wrong.items() if why]
    if fits:
        fix = f"format {' or '.join(fits)} reads them"
    elif almost:
        fix = f"they are those of format {' or '.join(almost)}, which says: {wrong[almost[0]]}"
    else:
        fix = "no shipped format reads them: an adapter of your own takes ten lines, see tutorials/03_your_own_data.py"
    return f"the fields of line {line} are {', '.join(map(str, row))[:300]}; {fix}"


def _unreadable(adapter: Adapter, row: Mapping[str, Any]) -> str | None:
    """What a format finds wrong with a row: nothing, an error about a value, or ``None`` if fields are missing."""
    try:
        _adapted(row, adapter, "it")
    except KeyError:
        return None
    except ValueError as error:
        return str(error)
    return ""


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
    entries = criteria_of(row)
    sample = RubricSample(
        id=_id(row.get("id"), default_id),
        messages=_messages(row),
        criteria=tuple(parse_criterion(entry, f"criteria[{i}]") for i, entry in enumerate(entries)),
        task=text(row, "task", optional=True),
    )
    response = text(row, "response", optional=True)
    if response is None:
        return Record(sample)
    verdicts = [parse_verdict(entry, f"criteria[{i}]", len(response)) for i, entry in enumerate(entries)]
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
