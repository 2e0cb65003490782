"""The metrics of a window of rollouts."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from rtt_lightning.functional.accuracy import (
    CRITERIA,
    RUBRIC,
    accuracy_by_kind,
    accuracy_counts,
    accuracy_metrics,
    counts_by_kind,
)
from rtt_lightning.functional.spread import effective_tokens, gini, saturated_cells
from rtt_lightning.reports.credited import credited_repetition
from rtt_lightning.reports.hacking import hacking_metrics
from rtt_lightning.runtime.processes import gather, sum_over_ranks
from rtt_lightning.types import MISQUOTED, SHORTENED, STEERING, Credited, Experience, JudgedRollout


def rollout_metrics(experience: Experience, judged: Sequence[JudgedRollout], credited: Credited) -> dict[str, Tensor]:
    """What is always logged for a window, so that problems show. A collective.

    Over all processes: `rtt_lightning.functional.accuracy.accuracy_metrics`, shares of flagged criteria and of answer
    tokens that the relevance source could not read (``unread``), how credit is spread (`_credit`), rubric-level
    accuracy per criterion kind, least and greatest length, and the standard deviation of rewards. Means over the
    responses of this process, if any: the known rewards that advantages were made from, the share of unknown ones, and
    the algorithm's metrics.
    """
    counts = accuracy_counts(experience.met, experience.scorable, experience.weights).sum(0)
    answered = sum(sum(item.rollout.answer_tokens) for item in judged)
    flags = [flag for item in judged for verdict in item.verdicts for flag in verdict.flags]
    shares = {
        "unread": (answered - experience.answer_mask.sum(), answered),
        **{flag: (flags.count(flag), counts[CRITERIA]) for flag in (STEERING, SHORTENED, MISQUOTED)},
        **_credit(experience, judged, credited.advantages),
    }
    counted, of = sum_over_ranks(torch.tensor([tuple(map(float, share)) for share in shares.values()])).T
    found = {name: counted[i] / of[i] for i, name in enumerate(shares) if of[i] > 0}
    found |= accuracy_metrics(sum_over_ranks(counts))
    found |= _spread(experience, judged, credited)
    if not judged:
        return found
    truncated = torch.tensor([item.rollout.finish_reason == "length" for item in judged])
    if credited.trained is not None:
        found["trained_share"] = credited.trained.float().mean()
    rewards, known = credited.rewards, credited.known
    if rewards is not None and known is not None:
        found |= {"reward_unknown": (~known).float().mean()}
        found |= {"reward": rewards[known].mean()} if known.any() else {}
    return {
        **credited.metrics,
        **found,
        "length": experience.response_mask.sum(1).float().mean(),
        "truncated": truncated.float().mean(),
        **{name: torch.tensor(value) for name, value in hacking_metrics(judged).items()},
    }


def _credit(
    experience: Experience, judged: Sequence[JudgedRollout], advantages: Tensor
) -> dict[str, tuple[float | Tensor, float | Tensor]]:
    """How credit is spread over tokens and criteria, as parts and wholes that add up over processes."""
    spread = {"gini": gini, "effective_tokens": effective_tokens}
    found = {name: metric(advantages, experience.response_mask) for name, metric in spread.items()}
    return {
        **{name: (values.nansum(), values.isfinite().sum()) for name, values in found.items()},
        "credited_repetition": credited_repetition(judged, advantages),
        "saturated_cells": (saturated_cells(experience).sum(), experience.scorable.sum()),
    }


def _spread(experience: Experience, judged: Sequence[JudgedRollout], credited: Credited) -> dict[str, Tensor]:
    """Metrics that are not means over processes. A collective."""
    rewards, known = credited.rewards, credited.known
    paid: list[float] = [] if rewards is None or known is None else rewards[known].tolist()
    everywhere = gather((experience.response_mask.sum(1).tolist(), paid, counts_by_kind(judged)))
    lengths, rewards = (torch.tensor([*chain(*(part[i] for part in everywhere))]).float() for i in (0, 1))
    kinds = accuracy_by_kind(sum((part[2] for part in everywhere), Counter()))
    found = {f"{RUBRIC}/{kind}": torch.tensor(share) for kind, (share, decided, _) in kinds.items() if decided}
    if len(lengths):
        found |= {"length_min": lengths.min(), "length_max": lengths.max()}
    if len(rewards) > 1:
        found["reward_std"] = rewards.std()
    return found
