"""IFEval, IFBench and what is made like them: ``prompt, instruction_id_list, kwargs``."""

from rtt_lightning.datamodules.adapters.base import Adapter, Row, unpacked
from rtt_lightning.verifiers.ifeval import describe, instruction_classes


class IFEval(Adapter):
    """Instructions by id with their arguments; nulls among these are padding. An unknown id stands as it is, for
    checkers of one's own.
    """

    def __call__(self, row: Row) -> Row:
        names, arguments = unpacked(row, "instruction_id_list", list), unpacked(row, "kwargs", list)
        if len(names) != len(arguments):
            raise ValueError(f"field `kwargs` has {len(arguments)} entries for {len(names)} instructions")
        criteria = []
        for number, (name, kwargs) in enumerate(zip(names, arguments, strict=True)):
            given = {key: value for key, value in (kwargs or {}).items() if value is not None}
            try:
                text = describe(name, given) if name in instruction_classes() else name
            except (TypeError, ValueError) as error:
                raise ValueError(f"field `kwargs[{number}]` does not fit {name!r}: {error}") from error
            criteria.append({"text": text, "checker": name, "kwargs": given})
        return {"id": row.get("key"), "prompt": row["prompt"], "criteria": criteria}
