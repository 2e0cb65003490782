"""Judged rollouts to tensors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtt_lightning.functional.accuracy import verdict_tensors
from rtt_lightning.lm.sequences import padded, sequences
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.types import Criterion, Experience, JudgedRollout, Verdict
from rtt_lightning.types.batches import VerdictBatch
from rtt_lightning.types.experience import of_one_process
from rtt_lightning.verifiers.base import JUDGE


def verdict_batch(judged: Sequence[JudgedRollout]) -> VerdictBatch:
    """Judged rollouts for an evaluation, padded: their tokens, and `verdict_tensors`."""
    met, scorable, weights = verdict_tensors(judged)
    return VerdictBatch(**sequences([item.rollout for item in judged]), met=met, scorable=scorable, weights=weights)


def collate(
    judged: Sequence[JudgedRollout],
    weighed: Sequence[Relevance],
    reduce: Callable[[Tensor], Tensor] = of_one_process,
    rank: int = 0,
) -> Experience:
    """Pad judged rollouts to one `Experience`, on the CPU.

    Args:
        judged: Rows with ragged rubrics and responses, if any.
        weighed: The relevance of each row.
        reduce: Sum over processes.
        rank: Number of this process.
    """
    met, scorable, weights = verdict_tensors(judged)
    tokens = sequences([item.rollout for item in judged])
    token = tokens["response_ids"].shape[1]
    relevance, contrast = torch.zeros(*weights.shape, token), torch.zeros(len(judged), token)
    answers = padded([item.rollout.answer_tokens for item in judged], torch.bool)
    for row, (item, found) in enumerate(zip(judged, weighed, strict=True)):
        length = len(item.rollout.response_ids)
        relevance[row, : len(item.verdicts), : found.p.shape[1]] = found.p
        if found.read is not None:
            answers[row, :length] &= found.read
        contrast[row, :length] = torch.nan if found.contrast is None else found.contrast
    return Experience(
        group_ids=torch.tensor([item.rollout.group_id for item in judged], dtype=torch.long),
        weights=weights,
        met=met,
        scorable=scorable,
        value=padded([[_value(verdict) for verdict in item.verdicts] for item in judged], torch.float),
        confidence=padded([[verdict.confidence for verdict in item.verdicts] for item in judged], torch.float),
        hard=padded([[_is_hard(criterion) for criterion in item.sample.criteria] for item in judged], torch.bool),
        relevance=relevance,
        answer_mask=answers,
        truncated=torch.tensor([item.rollout.finish_reason == "length" for item in judged], dtype=torch.bool),
        version=max((item.rollout.policy_version for item in judged), default=0),
        contrast=None if all(found.contrast is None for found in weighed) else contrast,
        rank=rank,
        reduce=reduce,
        **tokens,
    )


def _value(verdict: Verdict) -> float:
    return float(verdict.met is True) if verdict.value is None else verdict.value


def _is_hard(criterion: Criterion) -> bool:
    return criterion.checker != JUDGE if criterion.hard is None else criterion.hard
