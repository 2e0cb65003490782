"""Prompts as TRL's trainers take them: ``prompt`` as a conversation, with criteria beside it."""

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns


class TRL(Adapter):
    """``prompt`` is a list of {role, content}, or a text; ``criteria`` (or ``rubric``) holds criteria as in our own
    schema: sentences, or objects.
    """

    def __call__(self, row: Row) -> Row:
        criteria = parsed_field(row, "criteria" if "criteria" in row else "rubric", list)
        return {"id": row.get("id"), **turns(row), "criteria": criteria}
