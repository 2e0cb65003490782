"""The base of adapters, which turn rows of some format into rows of ours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from rtt_lightning.datamodules import fields
from rtt_lightning.types.errors import UserError

Row = Mapping[str, Any]


class Adapter(ABC):
    """Turns rows of a format into rows of the record schema, which is checked afterwards.

    A subclass of ten lines adds your own format; name it in YAML by ``data.format.class_path``.
    """

    @abstractmethod
    def __call__(self, row: Row) -> Row:
        """A row as `rtt_lightning.datamodules.records` describes it.

        Raises:
            UserError: Naming the field, what it holds and how to fix it.
            KeyError: For a missing field, which is reported as such.
        """


class Native(Adapter):
    """The record schema itself."""

    def __call__(self, row: Row) -> Row:
        return row


def parsed_field(row: Row, field: str, expected: type[Any]) -> Any:
    """A field's value, which some datasets hold as text: JSON, or as Python prints it.

    Raises:
        KeyError: If it is missing.
        UserError: If it is not what was expected.
    """
    value, name = row[field], {list: "a list", dict: "an object", str: "a string"}[expected]
    found = fields.parse_literal(value) if isinstance(value, str) and expected is not str else value
    if isinstance(found, expected):
        return found
    if isinstance(found, str) and expected is not str:
        raise UserError(f"field `{field}` is not JSON of {name}, got {fields.shown(value)!r}")
    raise UserError(f"field `{field}` must be {name}, got {fields.shown(value)!r}")


def turns(row: Row) -> dict[str, Any]:
    """The prompt of a row, a text or a conversation, under the field of our schema.

    Raises:
        KeyError: If it is missing.
        UserError: If it is neither a text nor a list.
    """
    field = "messages" if "messages" in row else "prompt"
    if isinstance(row[field], str) and not row[field].lstrip().startswith("["):
        return {"prompt": row[field]}
    try:
        return {"messages": parsed_field(row, field, list)}
    except ValueError:
        if isinstance(row[field], str):  # a text that begins with a bracket
            return {"prompt": row[field]}
        raise
