"""AdvancedIF: ``conversation_history`` and ``prompt_metadata`` with rubrics, each as JSON text."""

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field
from rtt_lightning.verifiers.base import JUDGE


class AdvancedIF(Adapter):
    """Conversations of several turns, some with a system message; all criteria are questions that a judge answers.

    The released rows also hold a response of another model, which is left out.
    """

    def __call__(self, row: Row) -> Row:
        rubrics = parsed_field(parsed_field(row, "prompt_metadata", dict), "rubrics", list)
        criteria = [{"text": text, "checker": JUDGE} for text in rubrics]
        return {"id": row.get("id"), "messages": parsed_field(row, "conversation_history", list), "criteria": criteria}
