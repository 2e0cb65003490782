"""Single values of a row: texts, numbers and arguments, as JSON, parquet and pandas leave them."""

import ast
import json
import math
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from rtt_lightning.types.errors import UserError

SHOWN = 80
"""Characters of a value in an error."""
ALIKE = 0.85
"""Similarity, from 0 to 1, from which an unknown key counts as a known one misspelt."""


def text(row: Mapping[str, Any], name: str, where: str = "", optional: bool = False) -> str | None:
    """A text of a row; ``None`` if it is optional and missing.

    Raises:
        UserError: If it is missing, or not a text.
    """
    value, label = row.get(name), f"{where}.{name}" if where else name
    if value is None and optional:
        return None
    if value is None:
        raise UserError(f"field `{label}` is missing; add it as a string")
    if not isinstance(value, str):
        raise UserError(f"field `{label}` must be a string, got {type(value).__name__} {shown(value)}")
    return value


def refuse_unknown(row: Mapping[str, Any], known: Sequence[str], label: str, *, others: bool) -> None:
    """Raise for unknown keys; with ``others`` only for those that look like a known one misspelt.

    Raises:
        UserError: Naming the key, and the nearest known one or else all.
    """
    for key in (str(key) for key in row if key not in known):
        nearest = get_close_matches(key, known, 1, cutoff=ALIKE if others else 0.5)
        if nearest or not others:
            fix = f"is `{nearest[0]}` meant?" if nearest else f"known are {', '.join(known)}"
            raise UserError(f"{label} has the unknown key `{shown(key)}`; {fix}")


def number(value: Any, label: str) -> float:
    """A finite number, also if written as text.

    Raises:
        UserError: For anything else.
    """
    found = value
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal) or not abs(found) <= sys.float_info.max:
        raise UserError(f"field `{label}` must be a finite number, got {shown(value)}")
    return float(found)


def arguments(value: Any, label: str) -> dict[str, Any]:
    """Arguments of a checker: an object, or one as JSON text.

    Undoes what parquet and pandas do to them: drops null and NaN, which they fill in for absent values, and makes whole
    floats integers again.

    Raises:
        UserError: If it is neither an object nor null.
    """
    found = parse_literal(value) if isinstance(value, str) and value.strip() else value or {}
    if not isinstance(found, Mapping):
        raise UserError(f"field `{label}` must be an object, got {shown(value)}")
    return {name: _whole(given) for name, given in found.items() if not _is_absent(given)}


def parse_literal(value: str) -> Any:
    """The value of a text that is JSON, or a list or dict as Python prints it; else the text itself."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)  # only literals: runs nothing
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value


def shown(value: Any) -> str:
    """A value as an error shows it."""
    return str(value)[:SHOWN]


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
