"""Prompts as TRL's trainers take them: ``prompt`` as a conversation, with criteria beside it."""

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns
from rtt_lightning.verifiers.base import JUDGE


class TRL(Adapter):
    """``prompt`` is a list of {role, content}, or a text; ``criteria`` (or ``rubric``) holds sentences, which a judge
    decides, or criteria as in our own schema.
    """

    def __call__(self, row: Row) -> Row:
        criteria = [
            {"text": entry, "checker": JUDGE} if isinstance(entry, str) else entry
            for entry in parsed_field(row, "criteria" if "criteria" in row else "rubric", list)
        ]
        return {"id": row.get("id"), **turns(row), "criteria": criteria}
