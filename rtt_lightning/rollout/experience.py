"""Judged rollouts to tensors, and their way into micro-batches."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.types import Experience, JudgedRollout, RubricSample, Verdict


def verdict_tensors(judged: Sequence[tuple[RubricSample, Sequence[Verdict]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ragged rubrics with their verdicts, padded: ``met``, ``scorable`` and ``weights``, ``[batch rubric]`` each."""
    batch, rubric = len(judged), max((len(verdicts) for _, verdicts in judged), default=1)
    met, scorable = torch.zeros(batch, rubric, dtype=torch.bool), torch.zeros(batch, rubric, dtype=torch.bool)
    weights = torch.zeros(batch, rubric)
    for row, (sample, verdicts) in enumerate(judged):
        k = len(verdicts)
        met[row, :k] = torch.tensor([verdict.met is True for verdict in verdicts])
        scorable[row, :k] = torch.tensor([verdict.met is not None for verdict in verdicts])
        weights[row, :k] = torch.tensor([criterion.weight for criterion in sample.criteria])
    return met, scorable, weights


def collate(
    judged: Sequence[JudgedRollout], relevance: Sequence[Tensor], read: Sequence[Tensor] | None = None
) -> Experience:
    """Pad judged rollouts to one `Experience`, on the CPU.

    Args:
        judged: Rows with ragged rubrics and responses; none for a process without data.
        relevance: ``[rubric token]`` per row.
        read: ``[token]`` bool per row, what the relevance source could read; all of it by default.
    """
    rollouts = [item.rollout for item in judged]
    met, scorable, weights = verdict_tensors([(item.sample, item.verdicts) for item in judged])
    token = max([1, *(len(rollout.response_ids) for rollout in rollouts)])
    padded_relevance = torch.zeros(*weights.shape, token)
    for row, (item, weight) in enumerate(zip(judged, relevance, strict=True)):
        padded_relevance[row, : len(item.verdicts), : weight.shape[1]] = weight
    answer_mask = _padded([rollout.answer_tokens for rollout in rollouts], torch.bool, token)
    if read is not None:
        answer_mask &= _padded([row.tolist() for row in read], torch.bool, token)
    return Experience(
        group_ids=torch.tensor([rollout.group_id for rollout in rollouts], dtype=torch.long),
        weights=weights,
        met=met,
        scorable=scorable,
        relevance=padded_relevance,
        answer_mask=answer_mask,
        response_mask=_padded([[True] * len(rollout.response_ids) for rollout in rollouts], torch.bool, token),
        prompt_ids=_padded([rollout.prompt_ids for rollout in rollouts], torch.long, 1),
        prompt_lengths=torch.tensor([len(rollout.prompt_ids) for rollout in rollouts], dtype=torch.long),
        response_ids=_padded([rollout.response_ids for rollout in rollouts], torch.long, token),
        sampler_logprobs=_padded(
            [rollout.logprobs or [torch.nan] * len(rollout.response_ids) for rollout in rollouts], torch.float, token
        ),
        temperature=torch.tensor([rollout.temperature for rollout in rollouts]),
    )


def split_groups(group_ids: Tensor, parts: int) -> list[Tensor]:
    """Row indices of ``parts`` micro-batches; a group stays whole, so with few groups some parts are empty."""
    groups = group_ids.unique()
    bounds = [len(groups) * part // parts for part in range(parts + 1)]
    return [torch.isin(group_ids, groups[a:b]).nonzero()[:, 0] for a, b in pairwise(bounds)]


def _padded(rows: Sequence[Sequence[float]], dtype: torch.dtype, width: int) -> Tensor:
    """``[batch token]``, at least ``width`` wide, right-padded with zeros."""
    if not rows:
        return torch.zeros(0, width, dtype=dtype)
    tensors = [torch.tensor(row, dtype=dtype) for row in rows]
    padded = pad_sequence(tensors, batch_first=True)
    return torch.nn.functional.pad(padded, (0, max(0, width - padded.shape[1])))
