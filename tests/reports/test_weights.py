"""Weights in words."""

from rtt_lightning.reports.weights import weights_by_kind
from rtt_lightning.types import Criterion, RubricSample


def sample(*weights: float) -> RubricSample:
    criteria = tuple(Criterion("x", "judge" if weight < 5 else "rtt:x", weight=weight) for weight in weights)
    return RubricSample("p", ({"role": "user", "content": "x"},), criteria)


def test_weights_are_named_where_one_is_not_1() -> None:
    assert weights_by_kind([sample(1.0, 7.0), sample(1.0)]) == {"judge": "", "rtt:x": "7"}
    assert weights_by_kind([sample(1.0), sample(-2.5, 7.0)]) == {"judge": "-2.5 to 1", "rtt:x": "7"}
    assert Criterion("No commas.", "x").label == "No commas."
    assert Criterion("Commas.", "x", weight=-2).label == "Commas. (weight -2)"
