"""Accuracies over rubrics, as torchmetrics: exact over batches and processes.

**Rubric-level accuracy**: share of criteria that are as desired. **Instruction-level accuracy**: share of responses
with all criteria as desired. IFEval calls these instruction-level and prompt-level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from rtt_lightning.functional.rewards import all_or_nothing
from rtt_lightning.processes import sum_over_ranks
from rtt_lightning.types import RubricSample, Verdict


class RubricAccuracy(Metric):
    """Share of scorable criteria that are as desired, in [0, 1]; NaN before the first scorable criterion."""

    desired: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("desired", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """All ``[batch rubric]``; a weight of 0 is padding, a negative one an unwanted criterion."""
        counted = scorable & (weights != 0)
        self.desired += (counted & (met == (weights > 0))).sum()
        self.total += counted.sum()

    def compute(self) -> Tensor:
        return self.desired.float() / self.total


class InstructionAccuracy(Metric):
    """Share of decided responses with every criterion as desired, in [0, 1]; NaN before the first decided one.

    A response with no unmet and at least one unscorable criterion is undecided: left out, and counted in
    ``undecided``.
    """

    passed: Tensor
    decided: Tensor
    undecided: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("passed", "decided", "undecided"):
            self.add_state(state, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """All ``[batch rubric]``; a weight of 0 is padding, a negative one an unwanted criterion."""
        reward, known = all_or_nothing(met, scorable, weights)
        self.passed += (reward > 0).sum()
        self.decided += known.sum()
        self.undecided += (~known).sum()

    def compute(self) -> Tensor:
        return self.passed.float() / self.decided


class KindAccuracy(Metric):
    """Rubric-level accuracy per criterion kind (checker id).

    Args:
        kinds: The checker ids that may occur, in the order of the result.
        sync_on_compute: Whether ``compute`` is a collective over all processes.
    """

    desired: Tensor
    total: Tensor
    unscorable: Tensor

    def __init__(self, kinds: Sequence[str], sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.kinds = tuple(kinds)
        for state in ("desired", "total", "unscorable"):
            self.add_state(state, torch.zeros(len(self.kinds), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, judged: Sequence[tuple[RubricSample, Sequence[Verdict]]]) -> None:
        for sample, verdicts in judged:
            for criterion, verdict in zip(sample.criteria, verdicts, strict=True):
                kind = self.kinds.index(criterion.checker)
                desired = verdict.as_desired(criterion)
                if desired is None:
                    self.unscorable[kind] += 1
                    continue
                self.desired[kind] += desired
                self.total[kind] += 1

    def compute(self) -> dict[str, Tensor]:
        """Accuracy by kind; NaN for a kind without a scorable criterion."""
        return dict(zip(self.kinds, self.desired.float() / self.total, strict=True))


class UpdateMeans:
    """Means over the tokens of one optimiser update, gathered from its micro-batches and all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, mask: Tensor, **values: Tensor) -> None:
        """Add per-token values where ``mask``; NaN values (not measured) take no part."""
        for name, value in values.items():
            counted = mask & ~value.isnan()
            zero = torch.zeros((), device=mask.device)
            self._sums[name] = self._sums.get(name, zero) + torch.where(counted, value.detach(), 0.0).sum()
            self._counts[name] = self._counts.get(name, zero) + counted.sum()

    def pop(self) -> dict[str, Tensor]:
        """The means since the last call, without those that nothing was measured of. A collective."""
        if not self._sums:
            return {}
        totals = sum_over_ranks(torch.stack([*self._sums.values(), *self._counts.values()]))
        sums, counts = totals.chunk(2)
        means = {name: sums[i] / counts[i] for i, name in enumerate(self._sums) if counts[i] > 0}
        self._sums, self._counts = {}, {}
        return means
