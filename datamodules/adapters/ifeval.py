"""IFEval, IFBench and datasets in their format: ``prompt, instruction_id_list, kwargs``."""

from collections.abc import Sequence
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns
from rtt_lightning.datamodules.fields import arguments, shown
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.ifeval import describe, instruction_classes


class IFEval(Adapter):
    """Instructions by id with their arguments, in which nulls are padding. Unknown ids are kept, for your own checkers.
    Also reads IF-RLVR's layout: one object in the list ``ground_truth`` holds both.
    """

    def __call__(self, row: Row) -> Row:
        name = row.get("key") if row.get("key") is not None else row.get("id")
        if "instruction_id_list" in row or "ground_truth" not in row:
            criteria = criteria_by_id(parsed_field(row, "instruction_id_list", list), parsed_field(row, "kwargs", list))
        else:
            criteria = _by_truth(parsed_field(row, "ground_truth", list))
        return {"id": name, **turns(row), "criteria": criteria}


def _by_truth(entries: Sequence[Any]) -> list[dict[str, Any]]:
    criteria = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f"field `ground_truth[{number}]` must be an object, got {shown(entry)}")
        criteria += criteria_by_id(parsed_field(entry, "instruction_id", list), parsed_field(entry, "kwargs", list))
    return criteria


def criteria_by_id(names: Sequence[Any], all_kwargs: Sequence[Any]) -> list[dict[str, Any]]:
    """Criteria of instruction ids with the arguments at the same positions.

    Raises:
        UserError: If their numbers differ, or arguments do not fit their instruction.
    """
    if len(names) != len(all_kwargs):
        raise UserError(f"field `kwargs` has {len(all_kwargs)} entries for {len(names)} instructions")
    criteria = []
    for number, (name, kwargs) in enumerate(zip(names, all_kwargs, strict=True)):
        given = arguments(kwargs, f"kwargs[{number}]")
        try:
            text = describe(name, given) if name in instruction_classes() else str(name)
        except (TypeError, ValueError) as error:
            raise UserError(f"field `kwargs[{number}]` does not fit {name!r}: {error}") from error
        criteria.append({"text": text, "checker": name, "kwargs": given})
    return criteria
