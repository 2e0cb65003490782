"""The accuracies against hand counts."""

from math import exp

import pytest
import torch

from rtt_lightning.functional.accuracy import RUBRIC
from rtt_lightning.metrics import (
    Accuracy,
    Evaluation,
    ReferenceDistance,
    UpdateMeans,
)

MET = torch.tensor([[True, True, False], [True, False, False], [True, False, False]])
SCORABLE = torch.tensor([[True, True, False], [True, True, False], [True, False, False]])
WEIGHTS = torch.tensor([[1.0, 2.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])


def test_rubric_accuracy_counts_scorable_criteria_as_desired() -> None:
    metric = Accuracy()
    metric.update(MET[:1], SCORABLE[:1], WEIGHTS[:1])
    metric.update(MET[1:], SCORABLE[1:], WEIGHTS[1:])
    assert (
        metric.compute()[RUBRIC] == 5 / 5
    )  # the unmet unwanted criterion is as desired; the unscorable one does not count
    metric.update(~MET[:1], SCORABLE[:1], WEIGHTS[:1])
    assert metric.compute()[RUBRIC] == pytest.approx(5 / 7)


def test_instruction_accuracy_is_one_number_only_where_all_is_decided() -> None:
    metric = Accuracy()
    metric.update(MET[:2], SCORABLE[:2], WEIGHTS[:2])
    metric.update(~MET[:1], SCORABLE[:1], WEIGHTS[:1])
    assert metric.compute()["instruction_accuracy"] == pytest.approx(2 / 3)
    metric.update(MET[2:], SCORABLE[2:], WEIGHTS[2:])  # undecided
    found = metric.compute()
    assert "instruction_accuracy" not in found
    assert found["instruction_accuracy_lower_bound"] == 2 / 4
    assert found["instruction_accuracy_upper_bound"] == 3 / 4
    assert found["instruction_accuracy_wholly_decided"] == pytest.approx(2 / 3)
    assert found["undecided_share"] == 1 / 4


def test_the_kl_per_response_is_summed_over_its_tokens() -> None:
    """Equal per token, twice as far per response; under top-p it is no KL, and not called one."""
    short, long = ReferenceDistance(), ReferenceDistance()
    whole, nothing = torch.ones(1, 4, dtype=torch.bool), torch.zeros(0, 1)
    logprobs, reference = torch.full((2, 4), -1.0), torch.full((2, 4), -2.0)
    kl = exp(-1)  # exp(-1) - 1 + 1 per token
    short.update(logprobs, reference, torch.arange(4).expand(2, 4) < 2, full_vocabulary=True)
    long.update(logprobs[:1], reference[:1], whole, full_vocabulary=True)
    long.update(logprobs[:1], reference[:1], whole, full_vocabulary=True)
    assert short.compute() == pytest.approx({"kl": kl, "kl_per_response": 2 * kl, "coherence": -2, "length": 2})
    assert long.compute() == pytest.approx({"kl": kl, "kl_per_response": 4 * kl, "coherence": -2, "length": 4})
    long.update(nothing, nothing, nothing > 0, full_vocabulary=False)
    assert {"reference_gap", "reference_gap_per_response", "coherence", "length"} == long.compute().keys()
    assert ReferenceDistance().compute() == {}


def test_an_evaluation_begins_anew_when_its_figures_are_taken() -> None:
    evaluation = Evaluation()
    evaluation.accuracy.update(MET, SCORABLE, WEIGHTS)
    assert evaluation.pop()["rubric_accuracy"] == 1
    assert evaluation.pop() == {}


def test_update_means_are_over_tokens_of_all_micro_batches() -> None:
    means = UpdateMeans()
    means.add(torch.tensor([[True, True, False]]), x=torch.tensor([[1.0, 2.0, 99.0]]))
    means.add(torch.tensor([[False, False, False]]), gap=torch.full((1, 3), torch.nan))
    means.add(torch.tensor([[True]]), x=torch.tensor([[6.0]]))
    assert means.pop() == {"x": torch.tensor(3.0)}  # (1 + 2 + 6) / 3; nothing was measured of the gap
    assert means.pop() == {}


def test_what_was_measured_as_nan_is_not_left_out_of_a_mean() -> None:
    means = UpdateMeans()
    means.add(torch.tensor([True, True]), loss=torch.tensor([1.0, torch.nan]), kl=torch.tensor([torch.inf, 2.0]))
    found = means.pop()
    assert found["loss"].isnan()
    assert found["kl"] == torch.inf
