"""Relevance from the rules that gave the verdicts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtt_lightning.functional.alignment import spans_to_tokens
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, Verdict


class RuleSpans(RelevanceSource):
    """The characters that decided the verdict, as the checker reports them, or all for a global criterion: exact 0/1
    relevance at no cost. `DecisiveSpans` as the verifier leaves only those that the verdict depends on.

    If a checker does not report spans, all answer tokens are relevant.
    """

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [criterion for criterion in criteria if not gives_spans(criterion)]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        return [
            Relevance(torch.stack([_tokens(item.rollout, verdict) for verdict in item.verdicts])) for item in judged
        ]


def _tokens(rollout: Rollout, verdict: Verdict) -> Tensor:
    """``[token]``, the relevance of the most relevant span that a token carries characters of."""
    first, last = rollout.answer_span
    known = verdict.relevant(last - first)
    spans = ((0, last - first),) if known is None else known
    shares = (verdict.span_relevance if known is verdict.spans else ()) or (1.0,) * len(spans)
    row = torch.zeros(len(rollout.offsets))
    for share in sorted({*shares}):
        found = [(a + first, b + first) for (a, b), own in zip(spans, shares, strict=True) if own == share]
        row[spans_to_tokens(found, rollout.offsets)] = share
    return row
