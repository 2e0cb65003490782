"""The criteria of a row, and verdicts on them beside a response; see `rtt_lightning.datamodules.records`."""

from collections.abc import Callable, Mapping
from typing import Any

from rtt_lightning.datamodules.fields import arguments, number, parse_literal, refuse_unknown, text
from rtt_lightning.datamodules.rows import Unreadable, parse_json
from rtt_lightning.types import Criterion
from rtt_lightning.types.errors import UserError
from rtt_lightning.types.rubric import checked_share
from rtt_lightning.verifiers.base import JUDGE
from rtt_lightning.verifiers.rules import parse_description

SHARES = ("value", "confidence")
TAXONOMY = {"scope": ("local", "global"), "polarity": ("positive", "negative")}
"""What a verdict may say of its criterion; the first is the default."""
VERDICT = ("met", "reason", "spans", "flags", "scope", "polarity", "spans_by", "span_relevance", *SHARES)
KEYS = ("text", "checker", "kwargs", "weight", "hard", "loose", *VERDICT)


def criteria_of(row: Mapping[str, Any]) -> list[Any]:
    criteria = row["criteria"]
    if isinstance(criteria, str):
        criteria = parse_json(criteria)
    if not isinstance(criteria, list) or not criteria:
        shown = criteria.reason if isinstance(criteria, Unreadable) else repr(criteria)[:80]
        raise UserError(f"field `criteria` must be a list with at least one criterion, got {shown}")
    return [_object(entry) if isinstance(entry, str) else entry for entry in criteria]


def _object(entry: str) -> Any:
    """A criterion that is a bare sentence, or an object as JSON text."""
    found = parse_literal(entry)
    return found if isinstance(found, Mapping) else {"text": entry}


def parse_criterion(entry: Any, where: str) -> Criterion:
    if not isinstance(entry, Mapping):
        raise UserError(f"field `{where}` must be a sentence, or an object with `text`, got {str(entry)[:80]}")
    refuse_unknown(entry, KEYS, f"field `{where}`", others=False)
    said, checker = str(text(entry, "text", where)), text(entry, "checker", where, optional=True)
    kwargs, hard = arguments(entry.get("kwargs"), f"{where}.kwargs"), entry.get("hard")
    weight = 1.0 if entry.get("weight") is None else number(entry["weight"], f"{where}.weight")
    if not (hard is None or isinstance(hard, bool)):
        raise UserError(f"field `{where}.hard` must be true, false or null, got {hard!r:.80}")
    if checker is None:
        if kwargs:
            raise UserError(f"field `{where}.kwargs` has arguments, but there is no `checker` that takes them; name it")
        checker, kwargs = parse_description(said) or (JUDGE, {})
    try:
        return Criterion(said, checker, kwargs, weight, hard)
    except ValueError as error:
        raise UserError(f"field `{where}`: {error}") from error


def parse_verdict(entry: Mapping[str, Any], where: str, length: int) -> dict[str, Any]:
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
    said = {"met": met, "reason": str(entry.get("reason") or ""), "spans": spans, "flags": flags}
    said |= {name: _one_of(entry, name, choices, where) for name, choices in TAXONOMY.items()}
    said["span_relevance"] = _of_spans(entry.get("span_relevance") or (), len(spans or ()), f"{where}.span_relevance")
    said["spans_by"] = text(entry, "spans_by", where, optional=True) or ""
    said |= {name: _share(entry[name], f"{where}.{name}") for name in SHARES if entry.get(name) is not None}
    loose = entry.get("loose")
    return said | {"loose": parse_verdict(loose, f"{where}.loose", length)} if isinstance(loose, Mapping) else said


def _one_of(entry: Mapping[str, Any], name: str, choices: tuple[str, ...], where: str) -> str:
    value = entry.get(name) or choices[0]
    if value not in choices:
        raise UserError(f"field `{where}.{name}` must be {' or '.join(choices)}, got {str(value)[:80]!r}")
    return value


def _of_spans(values: Any, number: int, label: str) -> list[float]:
    if not _is_list(values, lambda value: isinstance(value, int | float)) or len(values) not in (0, number):
        raise UserError(
            f"field `{label}` must be a list of numbers in [0, 1], one for each of the {number} spans, got "
            f"{str(values)[:80]}"
        )
    return [_share(value, label) for value in values]


def _share(value: Any, label: str) -> float:
    return checked_share(number(value, label), f"field `{label}`")


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(fits, value))


def _is_span(value: Any, length: int) -> bool:
    pair = _is_list(value, lambda bound: type(bound) is int) and len(value) == 2  # excludes bool
    return pair and 0 <= value[0] <= value[1] <= length
