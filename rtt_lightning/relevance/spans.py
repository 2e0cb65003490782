"""Relevance from the rules that gave the verdicts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtt_lightning.functional.alignment import spans_to_tokens
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.types import Criterion, JudgedRollout


class RuleSpans(RelevanceSource):
    """The characters that decided the verdict, as the checker reports them, or all for a global criterion: exact 0/1
    relevance at no cost.

    If a checker does not report spans, all answer tokens are relevant.
    """

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [criterion for criterion in criteria if not gives_spans(criterion)]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        return [Relevance(_rule_spans(item)) for item in judged]


def _rule_spans(item: JudgedRollout) -> Tensor:
    first, last = item.rollout.answer_span
    found = [verdict.relevant(last - first) for verdict in item.verdicts]
    rows = [
        spans_to_tokens(
            [(first, last)] if spans is None else [(a + first, b + first) for a, b in spans], item.rollout.offsets
        )
        for spans in found
    ]
    return torch.stack(rows).float()
