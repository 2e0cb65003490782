"""HiR-16K: ``prompt``, ``criteria``, and ``ground_truth``, whose shape follows from ``source``.

The authors of RTT processed it: ``rubrics`` there are the criteria, as sentences or as objects with a description.

| source | ground truth |
|---|---|
| type1, type2 | ``instruction_id_list`` and ``kwargs``, as in IFEval and IFBench |
| type3 | ``constraints``, as in MulDimIF |
| type4 | ``checker`` and ``functions``, as in VerIF |
"""

from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns
from rtt_lightning.datamodules.adapters.ifeval import criteria_by_id
from rtt_lightning.datamodules.adapters.muldimif import criteria_by_description
from rtt_lightning.datamodules.adapters.verif import criteria_by_function
from rtt_lightning.types.errors import UserError


class HiR(Adapter):
    """The n-th entry of the ground truth decides the n-th rubric; in some rows it is JSON text."""

    def __call__(self, row: Row) -> Row:
        truth = parsed_field(row, "ground_truth", dict)
        criteria = _criteria(row["source"], truth)
        name = "rubrics" if "rubrics" in row else "criteria"
        rubrics = parsed_field(row, name, list)
        if len(rubrics) != len(criteria):
            raise UserError(f"field `ground_truth` decides {len(criteria)} criteria, but `{name}` has {len(rubrics)}")
        named = [{**criterion, **_named(rubric)} for criterion, rubric in zip(criteria, rubrics, strict=True)]
        return {"id": row.get("id"), **turns(row), "criteria": named}


def _named(rubric: Any) -> dict[str, Any]:
    """Text and weight of a criterion; 1 where it has none."""
    if isinstance(rubric, dict):
        return {"text": rubric.get("description"), "weight": rubric.get("weight")}
    return {"text": rubric}


def _criteria(source: Any, truth: dict[str, Any]) -> list[dict[str, Any]]:
    if source in ("type1", "type2"):
        return criteria_by_id(parsed_field(truth, "instruction_id_list", list), parsed_field(truth, "kwargs", list))
    if source == "type3":
        return criteria_by_description(parsed_field(truth, "constraints", list))
    if source == "type4":
        return criteria_by_function(parsed_field(truth, "checker", list), parsed_field(truth, "functions", list))
    raise UserError(f"field `source` must be type1, type2, type3 or type4, got {source!r:.40}")
