"""Weighted criteria, as in RaR and HealthBench: sentences without a checker, of which negative ones are unwanted."""

from collections.abc import Mapping
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field
from rtt_lightning.datamodules.fields import number
from rtt_lightning.types.errors import UserError

PROMPTS = ("prompt", "question", "messages")
RUBRICS = ("rubric", "rubrics", "criteria")
TEXTS = ("criterion", "description", "text")
WEIGHTS = ("points", "weight", "score")


class Weighted(Adapter):
    """A prompt under one of `PROMPTS`, and under one of `RUBRICS` a list of objects with a text under one of `TEXTS`
    and a weight under one of `WEIGHTS`: a number, or one of ``words``. Criteria of weight 0 are ignored.

    Args:
        words: The weight that each word means, such as ``{Essential: 1.0, Optional: 0.3}``.
    """

    def __init__(self, words: Mapping[str, float] | None = None) -> None:
        self.words = dict(words or {})

    def __call__(self, row: Row) -> Row:
        prompt = row[_first(row, PROMPTS)]
        criteria = []
        rubric = _first(row, RUBRICS)
        for place, entry in enumerate(parsed_field(row, rubric, list)):
            if not isinstance(entry, dict):
                raise UserError(
                    f"field `{rubric}[{place}]` must be an object with a text and a weight, got {entry!r:.80}"
                )
            name = _first(entry, WEIGHTS)
            weight = self._number(entry[name], f"{rubric}[{place}].{name}")
            if weight != 0:
                criteria.append({"text": entry[_first(entry, TEXTS)], "weight": weight})
        if criteria and not any(criterion["weight"] > 0 for criterion in criteria):
            raise UserError(f"field `{rubric}` has no positive weight, so that nothing would be rewarded; give one")
        turns = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
        return {"id": row.get("prompt_id") or row.get("id"), **turns, "criteria": criteria}

    def _number(self, weight: Any, label: str) -> float:
        if isinstance(weight, str) and weight in self.words:
            return self.words[weight]
        try:
            return number(weight, label)
        except ValueError as error:
            if not isinstance(weight, str):
                raise
            raise UserError(
                f"{error}; say what weight each word means: data.format.class_path "
                f"{__name__}.Weighted, data.format.init_args.words {{{weight}: 1.0, ...}}"
            ) from error


def _first(row: Any, names: tuple[str, ...]) -> str:
    """The first of the names that a row has.

    Raises:
        KeyError: If it has none of them.
    """
    found = next((name for name in names if row.get(name) is not None), None)
    if found is None:
        raise KeyError(" or ".join(names))
    return found
