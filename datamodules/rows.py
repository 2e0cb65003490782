"""Rows of data as files hold them: JSONL, JSON, parquet, or a dataset of the Hugging Face hub."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq

from rtt_lightning.runtime.hub import reading
from rtt_lightning.types.errors import UserError


@dataclass(frozen=True)
class Rows:
    """Rows of any format.

    Attributes:
        name: Name of the file or dataset in errors and default ids.
        numbered: Rows with their line (JSONL) or row number, from 1; a broken line is an `Unreadable`.
    """

    name: str
    numbered: Iterable[tuple[int, Any]]


@dataclass(frozen=True)
class Unreadable:
    """A line that is not JSON or cannot be encoded, and why."""

    reason: str


def read_rows(path: str | Path) -> Rows:
    """Rows of a file, or of a dataset of the hub.

    Args:
        path: A ``.jsonl``, ``.parquet`` or ``.json`` (a list of rows) file; or a dataset, of the hub or in a folder, as
            ``name``, ``name:split`` (by default ``train``) or ``name:configuration:split``.

    Raises:
        UserError: For a missing file, an unknown kind, text that is not UTF-8, or what cannot be read.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".jsonl", ".json"):
        return _dataset_rows(str(path))
    if not path.is_file():
        raise UserError(f"no data file at {path}; give the path of a .jsonl, .json or .parquet file")
    if path.suffix == ".parquet":
        return Rows(path.name, enumerate(_table(path).to_pylist(), start=1))
    return Rows(path.name, _lines(path) if path.suffix == ".jsonl" else _items(path))


def parse_json(text: str) -> Any:
    """The value of a JSON text, or `Unreadable`."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # no tokenizer or file takes what cannot be encoded
    except json.JSONDecodeError as error:
        return Unreadable(f"{error.msg} at column {error.colno}")
    except RecursionError:
        return Unreadable("nested too deeply")
    except UnicodeEncodeError as error:
        return Unreadable(f"\\u{ord(error.object[error.start]):04x} is half a character; write both halves or none")
    except ValueError:  # the only other cause: Python limits the digits of integers
        return Unreadable(f"a number has too many digits; write at most {sys.get_int_max_str_digits()}")
    return value


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    items = parse_json(_text(path))
    if not isinstance(items, list):
        reason = items.reason if isinstance(items, Unreadable) else f"it holds {type(items).__name__}"
        raise UserError(f"{path} must hold a list of rows: {reason}")
    return enumerate(items, start=1)


def _table(path: Path) -> pyarrow.Table:
    try:
        return pq.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path} cannot be read as parquet ({error}); write it again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    lines = _text(path).split("\n")  # not splitlines: texts may hold other line separators
    return ((number, parse_json(line)) for number, line in enumerate(lines, start=1) if line.strip())


def _dataset_rows(address: str) -> Rows:
    from datasets import load_dataset  # slow to import

    name, *parts = address.split(":")
    if len(parts) > 2 or not (Path(name).is_dir() or re.fullmatch(r"[\w.-]+/[\w.-]+", name)):
        raise UserError(
            f"no data at {address}; give a .jsonl, .json or .parquet file, "
            "or a dataset of the hub as owner/name or owner/name:split"
        )
    *configuration, split = parts or ["train"]
    with reading("a dataset", name, "JSONL or parquet files"):
        dataset: Any = load_dataset(name, *configuration, split=split)
    return Rows(address, enumerate(dataset, start=1))
