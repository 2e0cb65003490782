"""VerIF and VerInstruct: ``prompt``, ``checker: ["[rule] ..." | "[llm] ..."]`` and ``functions``, code by checker."""

from collections.abc import Sequence
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import CODE, JUDGE


class VerIF(Adapter):
    """The function of a rule decides it, and never runs outside a sandbox; the others need a judge.

    The checkers may be under ``checkers`` as well. Ids are kept unless they are placeholders.
    """

    def __call__(self, row: Row) -> Row:
        name = "checkers" if "checkers" in row else "checker"
        criteria = criteria_by_function(parsed_field(row, name, list), parsed_field(row, "functions", list))
        return {"id": None if row.get("id") == "NA" else row.get("id"), **turns(row), "criteria": criteria}


def criteria_by_function(checkers: Sequence[Any], functions: Sequence[Any]) -> list[dict[str, Any]]:
    """Criteria of checkers with the functions at the same positions.

    A checker without a mark is a rule, unless its function asks a language model.

    Raises:
        UserError: If their numbers differ, or a rule has no function.
    """
    if len(checkers) != len(functions):
        raise UserError(f"field `functions` has {len(functions)} entries for {len(checkers)} checkers")
    criteria = []
    for number, (checker, function) in enumerate(zip(map(str, checkers), functions, strict=True)):
        asks = checker.startswith("[llm]") or ("llm_" in str(function) and not checker.startswith("[rule]"))
        if not asks and not str(function or "").strip():
            raise UserError(f"field `functions[{number}]` is empty: nothing can decide the rule {checker!r:.80}")
        decided = {"checker": JUDGE} if asks else {"checker": CODE, "kwargs": {"source": function}}
        criteria.append({"text": checker.removeprefix("[llm]").removeprefix("[rule]").strip(), **decided})
    return criteria
