"""Metrics over rubrics and of relevance, as torchmetrics: exact over batches and processes.

**Rubric-level accuracy**: share of criteria that are as desired. **Instruction-level accuracy**: share of responses
with all criteria as desired, or bounds of it. IFEval calls these instruction-level and prompt-level.
"""

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAveragePrecision

from rtt_lightning.functional.accuracy import accuracy_counts, accuracy_metrics
from rtt_lightning.functional.losses import kl_k3, masked_sum
from rtt_lightning.functional.quality import BINS, SUMS, quality_metrics, quality_sums
from rtt_lightning.runtime.processes import sum_over_ranks

IGNORED = -1
"""The label of a token that does not count."""


class Accuracy(Metric):
    """Shares of criteria and of responses as desired, bounds of the latter, and counts, by name.

    See `rtt_lightning.functional.accuracy.accuracy_metrics`; empty before the first response.
    """

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(8, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, met: Tensor, scorable: Tensor, weights: Tensor) -> None:
        """All ``[batch rubric]``; a weight of 0 is padding, a negative one an unwanted criterion."""
        self.counts += accuracy_counts(met, scorable, weights).sum(0)

    def compute(self) -> dict[str, Tensor]:
        return accuracy_metrics(self.counts)


def reference_distance_name(full_vocabulary: bool) -> str:
    """The name of a mean of a KL estimator over sampled tokens: ``kl`` if they were drawn from the full softmax.

    If top-p or top-k excluded unlikely tokens, it is not a KL, neither of the policy nor of the truncated one:
    ``reference_gap``.
    """
    return "kl" if full_vocabulary else "reference_gap"


class ReferenceDistance(Metric):
    """Distance of a policy from its reference on sampled tokens, in nats; empty before the first token.

    A mean over all tokens, ``kl``, and a mean over responses of the sum over their tokens, ``kl_per_response``; or
    ``reference_gap`` and ``reference_gap_per_response``, see `reference_distance_name`. Beside it ``coherence``, the
    mean log-prob of these tokens under the reference, and ``length``, the mean number of tokens of a response.
    """

    total: Tensor
    coherence: Tensor
    tokens: Tensor
    responses: Tensor
    cut_down: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("total", "coherence"):
            self.add_state(state, torch.tensor(0.0), dist_reduce_fx="sum")
        for state in ("tokens", "responses", "cut_down"):
            self.add_state(state, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logprobs: Tensor, reference: Tensor, mask: Tensor, full_vocabulary: bool) -> None:
        """Add log-probs under both and the mask, all ``[batch token]``, and how tokens were drawn."""
        self.total += masked_sum(kl_k3(logprobs, reference), mask)
        self.coherence += masked_sum(reference, mask)
        self.tokens += mask.sum()
        self.responses += mask.any(1).sum()
        self.cut_down += not full_vocabulary

    def compute(self) -> dict[str, Tensor]:
        if not self.tokens:
            return {}
        name = reference_distance_name(not self.cut_down)
        distance = {name: self.total / self.tokens, f"{name}_per_response": self.total / self.responses}
        return {**distance, "coherence": self.coherence / self.tokens, "length": self.tokens / self.responses}


class Evaluation(nn.Module):
    """All metrics of an evaluation, exact over batches and processes."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy, self.reference = Accuracy(), ReferenceDistance()

    def pop(self) -> dict[str, Tensor]:
        """The metrics since the last call. A collective."""
        found = self.accuracy.compute() | self.reference.compute()
        for metric in (self.accuracy, self.reference):
            metric.reset()
        return found


class RelevanceQuality(Metric):
    """How well relevance finds the relevant tokens, see `rtt_lightning.functional.quality.quality_metrics`."""

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(SUMS) + 3 * BINS, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, p: Tensor, labels: Tensor, mask: Tensor) -> None:
        """Add cells: relevance, labels and the tokens that count, all ``[batch token]``."""
        self.sums += quality_sums(p, labels, mask).sum(0)

    def compute(self) -> dict[str, Tensor]:
        """Those that are known."""
        return {name: value.float() for name, value in quality_metrics(self.sums).items() if not value.isnan()}


class RelevanceEvaluation(nn.Module):
    """All metrics of a discriminator, exact over batches and processes: `RelevanceQuality`, and ``average_precision``,
    of the tokens of all mixed cells as one ranking.
    """

    def __init__(self) -> None:
        super().__init__()
        self.quality, self.pooled = RelevanceQuality(), BinaryAveragePrecision(ignore_index=IGNORED)

    def update(self, p: Tensor, labels: Tensor, mask: Tensor) -> None:
        """As `RelevanceQuality.update`; also without cells, as processes gather their values together."""
        self.quality.update(p, labels, mask)
        mixed = mask & ((labels & mask).any(1) & (~labels & mask).any(1))[:, None]
        self.pooled.update(p.flatten(), torch.where(mixed, labels.long(), IGNORED).flatten())

    def pop(self) -> dict[str, Tensor]:
        """The metrics since the last call. A collective."""
        found = self.quality.compute()
        if "base_rate" in found:
            found["average_precision"] = self.pooled.compute()
        for metric in (self.quality, self.pooled):
            metric.reset()
        return found


class UpdateMeans:
    """Means over the tokens of one optimiser update, from its micro-batches on all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, mask: Tensor, **values: Tensor) -> None:
        """Add per-token values where ``mask``. A value that is not finite makes the mean not finite."""
        for name, value in values.items():
            zero = torch.zeros((), device=mask.device)
            self._sums[name] = self._sums.get(name, zero) + torch.where(mask, value.detach(), 0.0).sum()
            self._counts[name] = self._counts.get(name, zero) + mask.sum()

    def pop(self) -> dict[str, Tensor]:
        """The means since the last call, without those of no tokens. A collective."""
        if not self._sums:
            return {}
        totals = sum_over_ranks(torch.stack([*self._sums.values(), *self._counts.values()]))
        sums, counts = totals.chunk(2)
        means = {name: sums[i] / counts[i] for i, name in enumerate(self._sums) if counts[i] > 0}
        self._sums, self._counts = {}, {}
        return means
