"""IFEval, IFBench and what is made like them: ``prompt, instruction_id_list, kwargs``."""

from collections.abc import Sequence
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, unpacked
from rtt_lightning.verifiers.ifeval import describe, given, instruction_classes


class IFEval(Adapter):
    """Instructions by id with their arguments; nulls among these are padding. An unknown id stands as it is, for
    checkers of one's own.
    """

    def __call__(self, row: Row) -> Row:
        criteria = by_id(unpacked(row, "instruction_id_list", list), unpacked(row, "kwargs", list))
        return {"id": row.get("key"), "prompt": row["prompt"], "criteria": criteria}


def by_id(names: Sequence[Any], arguments: Sequence[Any]) -> list[dict[str, Any]]:
    """Criteria of instruction ids with the arguments that stand at the same places.

    Raises:
        ValueError: If their numbers differ, or arguments do not fit their instruction.
    """
    if len(names) != len(arguments):
        raise ValueError(f"field `kwargs` has {len(arguments)} entries for {len(names)} instructions")
    criteria = []
    for number, (name, kwargs) in enumerate(zip(names, arguments, strict=True)):
        if not isinstance(kwargs, dict | None):
            raise ValueError(f"field `kwargs[{number}]` must be an object or null, got {kwargs!r:.60}")
        arguments_given = given(kwargs or {})
        try:
            text = describe(name, arguments_given) if name in instruction_classes() else str(name)
        except (TypeError, ValueError) as error:
            raise ValueError(f"field `kwargs[{number}]` does not fit {name!r}: {error}") from error
        criteria.append({"text": text, "checker": name, "kwargs": arguments_given})
    return criteria
