"""The accuracies against hand counts."""

import pytest
import torch

from rtt_lightning.metrics import InstructionAccuracy, KindAccuracy, RubricAccuracy, UpdateMeans
from tests.callbacks.test_experience import judged

MET = torch.tensor([[True, True, False], [True, False, False], [True, False, False]])
SCORABLE = torch.tensor([[True, True, False], [True, True, False], [True, False, False]])
WEIGHTS = torch.tensor([[1.0, 2.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])


def test_rubric_accuracy_counts_scorable_criteria_as_desired() -> None:
    metric = RubricAccuracy()
    metric.update(MET[:1], SCORABLE[:1], WEIGHTS[:1])
    metric.update(MET[1:], SCORABLE[1:], WEIGHTS[1:])
    assert metric.compute() == 5 / 5  # the unmet unwanted criterion is as desired; the unscorable one does not count
    metric.update(~MET[:1], SCORABLE[:1], WEIGHTS[:1])
    assert metric.compute() == pytest.approx(5 / 7)


def test_instruction_accuracy_leaves_undecided_responses_out_and_counts_them() -> None:
    metric = InstructionAccuracy()
    metric.update(MET, SCORABLE, WEIGHTS)
    assert metric.compute() == 1.0
    assert metric.undecided == 1
    metric.update(~MET[:1], SCORABLE[:1], WEIGHTS[:1])
    assert metric.compute() == pytest.approx(2 / 3)


def test_kind_accuracy_follows_signs_and_counts_unscorable() -> None:
    metric = KindAccuracy(["rtt:question", "rtt:title"])
    rows = [judged(0, 1, True, True, None), judged(0, 1, False)]  # the second weight is negative
    metric.update([(row.sample, row.verdicts) for row in rows])
    result = metric.compute()
    assert result["rtt:question"] == pytest.approx(1 / 3)
    assert result["rtt:title"].isnan()
    assert metric.unscorable.tolist() == [1, 0]


def test_update_means_are_over_tokens_of_all_micro_batches() -> None:
    means = UpdateMeans()
    means.add(
        torch.tensor([[True, True, False]]), x=torch.tensor([[1.0, 2.0, 99.0]]), gap=torch.full((1, 3), torch.nan)
    )
    means.add(torch.tensor([[True]]), x=torch.tensor([[6.0]]))
    assert means.pop() == {"x": torch.tensor(3.0)}  # (1 + 2 + 6) / 3; nothing was measured of the gap
    assert means.pop() == {}
