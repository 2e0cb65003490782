"""Figures over rubrics, as torchmetrics: exact over batches and processes.

**Rubric-level accuracy**: share of criteria that are as desired. **Instruction-level accuracy**: share of responses
with all criteria as desired, or bounds of it. IFEval calls these instruction-level and prompt-level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from rtt_lightning.functional.accuracy import instruction_counts, instruction_figures, rubric_counts
from rtt_lightning.functional.losses import masked_sum
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import RubricSample, Verdict


class RubricAccuracy(Metric):
    """Share of scorable criteria that are as desired, in [0, 1]; NaN before the first scorable criterion."""

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """All ``[batch rubric]``; a weight of 0 is padding, a negative one an unwanted criterion."""
        self.counts += rubric_counts(met, scorable, weights).sum(0)

    def compute(self) -> Tensor:
        desired, scorable = self.counts
        return desired.float() / scorable


class InstructionAccuracy(Metric):
    """Share of responses with every criterion as desired, by name: bounds of it, and what can be said beside them.

    See `rtt_lightning.functional.accuracy.instruction_figures`; nothing before the first response.
    """

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(6, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """All ``[batch rubric]``; a weight of 0 is padding, a negative one an unwanted criterion."""
        self.counts += instruction_counts(met, scorable, weights).sum(0)

    def compute(self) -> dict[str, Tensor]:
        return instruction_figures(self.counts)


def reference_distance_name(full_vocabulary: bool) -> str:
    """What a mean of a KL estimator over sampled tokens is called: ``kl`` where they were drawn from the full softmax.

    Where top-p or top-k kept unlikely tokens from being drawn it is no KL, neither of the policy nor of what it was cut
    down to: ``reference_gap``.
    """
    return "kl" if full_vocabulary else "reference_gap"


class ReferenceDistance(Metric):
    """How far a policy is from its reference on the tokens that it sampled, in nats; nothing before the first token.

    A mean over all tokens, ``kl``, and a mean over responses of the sum over their tokens, ``kl_per_response``; or
    ``reference_gap`` and ``reference_gap_per_response``, see `reference_distance_name`.
    """

    total: Tensor
    tokens: Tensor
    responses: Tensor
    cut_down: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        for state in ("tokens", "responses", "cut_down"):
            self.add_state(state, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, kl: Tensor, mask: Tensor, full_vocabulary: bool) -> None:
        """An estimate of the KL of each token, its mask, both ``[batch token]``, and how the tokens were drawn."""
        self.total += masked_sum(kl, mask)
        self.tokens += mask.sum()
        self.responses += mask.any(1).sum()
        self.cut_down += not full_vocabulary

    def compute(self) -> dict[str, Tensor]:
        if not self.tokens:
            return {}
        name = reference_distance_name(not self.cut_down)
        return {name: self.total / self.tokens, f"{name}_per_response": self.total / self.responses}


class Evaluation(nn.Module):
    """All figures of an evaluation, exact over batches and processes."""

    def __init__(self) -> None:
        super().__init__()
        self.rubric, self.instruction, self.reference = RubricAccuracy(), InstructionAccuracy(), ReferenceDistance()

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """The verdicts of a batch, all ``[batch rubric]``; what concerns the reference goes to ``reference``."""
        self.rubric.update(met, scorable, weights)
        self.instruction.update(met, scorable, weights)

    def pop(self) -> dict[str, Tensor]:
        """The figures since the last call. A collective."""
        rubric, found = self.rubric.compute(), self.instruction.compute() | self.reference.compute()
        for metric in (self.rubric, self.instruction, self.reference):
            metric.reset()
        return found if rubric.isnan() else {"rubric_accuracy": rubric, **found}


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
        """Add per-token values where ``mask``: where they were measured. One that is not finite shows in the mean."""
        for name, value in values.items():
            zero = torch.zeros((), device=mask.device)
            self._sums[name] = self._sums.get(name, zero) + torch.where(mask, value.detach(), 0.0).sum()
            self._counts[name] = self._counts.get(name, zero) + mask.sum()

    def pop(self) -> dict[str, Tensor]:
        """The means since the last call, without those that nothing was measured of. A collective."""
        if not self._sums:
            return {}
        totals = sum_over_ranks(torch.stack([*self._sums.values(), *self._counts.values()]))
        sums, counts = totals.chunk(2)
        means = {name: sums[i] / counts[i] for i, name in enumerate(self._sums) if counts[i] > 0}
        self._sums, self._counts = {}, {}
        return means
