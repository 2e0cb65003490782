"""MulDimIF: ``conversations, constraints: [[category, subcategory, description]]``."""

from collections.abc import Sequence
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import JUDGE
from rtt_lightning.verifiers.rules import parse_description


class MulDimIF(Adapter):
    """A rule checks each criterion whose description is understood to the last word; the others need a judge."""

    def __call__(self, row: Row) -> Row:
        criteria = criteria_by_description(parsed_field(row, "constraints", list))
        return {"id": row.get("id"), "messages": parsed_field(row, "conversations", list), "criteria": criteria}


def criteria_by_description(constraints: Sequence[Any]) -> list[dict[str, Any]]:
    """Criteria of [category, subcategory, description] triples.

    Raises:
        UserError: For anything else.
    """
    criteria = []
    for number, constraint in enumerate(constraints):
        if not isinstance(constraint, list | tuple) or len(constraint) != 3:
            expected = "[category, subcategory, description]"
            raise UserError(f"field `constraints[{number}]` must be {expected}, got {constraint!r:.80}")
        category, subcategory, text = map(str, constraint)
        # "at most 3 attributes" or "nesting of 2 levels" do not say of what
        about = next((format for format in ("JSON", "XML") if format in (category, subcategory)), None)
        check = parse_description(text) or (parse_description(f"{about}: {text}") if about else None)
        checker, kwargs = check or (JUDGE, {})
        criteria.append({"text": text, "checker": checker, "kwargs": kwargs})
    return criteria
