"""The weights of criteria in words."""

from collections.abc import Iterable

from rtt_lightning.types import RubricSample


def weights_by_kind(samples: Iterable[RubricSample]) -> dict[str, str]:
    """The weights of each kind's criteria in words, such as "-2 to 1"; empty if all are 1."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for criterion in sample.criteria:
            found.setdefault(criterion.checker, []).append(criterion.weight)
    return {kind: _range(min(weights), max(weights)) for kind, weights in found.items()}


def _range(low: float, high: float) -> str:
    if low == high:
        return "" if low == 1 else f"{low:g}"
    return f"{low:g} to {high:g}"
