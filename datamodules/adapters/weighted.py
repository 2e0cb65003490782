"""Weighted criteria, as in RaR and HealthBench: a judge decides them, and negative ones are unwanted."""

from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, unpacked
from rtt_lightning.verifiers.checks import JUDGE

PROMPTS = ("prompt", "question", "messages")
RUBRICS = ("rubric", "rubrics", "criteria")
TEXTS = ("criterion", "description", "text")
WEIGHTS = ("points", "weight", "score")


class Weighted(Adapter):
    """A prompt under one of `PROMPTS`, and under one of `RUBRICS` a list of objects with a text under one of `TEXTS`
    and a weight under one of `WEIGHTS`.
    """

    def __call__(self, row: Row) -> Row:
        prompt = row[_first(row, PROMPTS)]
        criteria = []
        rubric = _first(row, RUBRICS)
        for number, entry in enumerate(unpacked(row, rubric, list)):
            if not isinstance(entry, dict):
                raise ValueError(
                    f"field `{rubric}[{number}]` must be an object with a text and a weight, got {entry!r:.80}"
                )
            text, weight = entry[_first(entry, TEXTS)], entry[_first(entry, WEIGHTS)]
            if weight == 0:
                continue  # decides nothing
            criteria.append({"text": text, "checker": JUDGE, "weight": weight})
        if criteria and not any(_positive(criterion["weight"]) for criterion in criteria):
            raise ValueError(f"field `{rubric}` has no positive weight, so that nothing would be rewarded; give one")
        turns = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
        return {"id": row.get("prompt_id") or row.get("id"), **turns, "criteria": criteria}


def _first(row: Any, names: tuple[str, ...]) -> str:
    """The first of the names that a row has.

    Raises:
        KeyError: If it has none of them.
    """
    found = next((name for name in names if row.get(name) is not None), None)
    if found is None:
        raise KeyError(" or ".join(names))
    return found


def _positive(weight: Any) -> bool:
    return isinstance(weight, int | float) and weight > 0
