"""Figures of an evaluation that two processes share are those of one process that has all responses."""

import pytest
import torch

from rtt_lightning.metrics import Evaluation, RelevanceEvaluation
from tests.processes import in_group

SHARES = (slice(0, 3), slice(3, 8))
"""Uneven shares; the second one alone has undecided criteria, and samples of another engine without a full softmax."""


def evaluated(*parts: slice) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    met = torch.rand(8, 4, generator=generator) < 0.8
    weights = torch.where(torch.arange(4) < torch.randint(1, 5, (8, 1), generator=generator), 1.0, 0.0)
    scorable = (weights != 0) & ((torch.rand(8, 4, generator=generator) < 0.7) | (torch.arange(8)[:, None] < 3))
    logprobs, mask = -torch.rand(2, 8, 5, generator=generator), torch.arange(5) < torch.arange(1, 9)[:, None]
    evaluation = Evaluation()
    for part in parts:
        evaluation.accuracy.update(met[part], scorable[part], weights[part])
        evaluation.reference.update(*logprobs[:, part], mask[part], full_vocabulary=part.start == 0)
    return {name: value.item() for name, value in evaluation.pop().items()}


def weighed(*parts: slice) -> dict[str, float]:
    """The metrics of a discriminator's cells."""
    generator = torch.Generator().manual_seed(0)
    p, labels = torch.rand(8, 6, generator=generator), torch.rand(8, 6, generator=generator) < 0.3
    mask = torch.arange(6) < torch.arange(1, 9)[:, None]
    evaluation = RelevanceEvaluation()
    for part in parts:
        evaluation.update(p[part], labels[part], mask[part])
    return {name: value.item() for name, value in evaluation.pop().items()}


def of_share(rank: int) -> dict[str, float]:
    return evaluated(SHARES[rank]) | weighed(SHARES[rank])


@pytest.mark.slow
def test_two_processes_say_what_one_says() -> None:
    one = evaluated(*SHARES) | weighed(*SHARES)
    assert in_group(of_share) == [pytest.approx(one), pytest.approx(one)]
    assert "instruction_accuracy" not in one
    assert {"instruction_accuracy_lower_bound", "instruction_accuracy_wholly_decided", "reference_gap"} <= one.keys()
    assert "instruction_accuracy" in evaluated(SHARES[0])  # alone the first process would know
