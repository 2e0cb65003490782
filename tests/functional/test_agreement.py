"""Agreement of two judges by hand."""

import math

import pytest
import torch
from torchmetrics.functional.classification import binary_cohen_kappa

from rtt_lightning.functional.agreement import Agreement, agreements
from tests.functional.test_accuracy import judged


def of(*pairs: tuple[bool | None, bool | None]) -> Agreement:
    first, second = ([judged("x", side) for side in sides] for sides in zip(*pairs, strict=True))
    [(criterion, found)] = agreements(first, second).items()
    assert criterion == "c0"
    return found


def test_kappa_and_flips_by_hand() -> None:
    # 10 pairs: 4 both met, 3 both unmet, 2 to met, 1 to unmet: p0 = 0.7, pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, k = 0.4.
    decided = [(True, True)] * 4 + [(False, False)] * 3 + [(False, True)] * 2 + [(True, False)]
    found = of(*decided, (True, None), (None, True), (None, None))
    assert (found.criteria, found.decided, found.unscorable) == (13, 10, 2)
    assert found.accuracy == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    first, second = (torch.tensor(side).int() for side in zip(*decided, strict=True))
    assert found.kappa == pytest.approx(float(binary_cohen_kappa(second, first)))
    assert found.optimism == pytest.approx((5 - 6) / 10)
    assert (found.flips(True), found.flips(False)) == (2, 1)


def test_what_is_not_known_is_nan() -> None:
    assert math.isnan(Agreement().accuracy)
    assert math.isnan(of((None, True)).kappa)
    assert math.isnan(of((True, True), (True, True)).kappa)
    assert of((True, True), (True, False)).kappa == 0


def test_criteria_are_told_apart_and_add_up() -> None:
    """Of the unwanted one, unmet is as desired."""
    found = agreements([judged("x", True, True)], [judged("x", False, False)])
    assert list(found) == ["c0", "c1 (weight -1)"]
    both = sum(found.values(), Agreement())
    assert (both.criteria, both.accuracy, both.flips(True), both.flips(False)) == (2, 0, 1, 1)
