"""Relevance by comparing prompts: how much likelier the policy finds a token with criteria in its prompt than without.

Both sides are computed by the policy, from its weights of this moment, in the same arithmetic and at the temperature of
the sampling: what a sampler says of its own tokens is not used. Prompts must say what is asked apart from their
criteria (`RubricSample.task`).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample
from rtt_lightning.types.asked import bare, without
from rtt_lightning.types.errors import UserError


class CriteriaContrast(RelevanceSource):
    """delta[t] = log pi(y_t | x) - log pi(y_t | x without its criteria), as ``contrast``; relevance is 1 everywhere.

    For algorithms that read the contrast, as CoRT does (arXiv 2607.25659); for others this is `UniformRelevance` at the
    price of two forwards per response. x without its criteria has the bare task as its last turn.
    """

    def problems(self, sample: RubricSample) -> list[str]:
        return _without_task(sample)

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [*criteria]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        policy = _asked(policy, self)
        tasks = {item.sample.id: policy.render(bare(item.sample)) for item in judged}
        rows = [item.rollout for item in judged]
        own, others = _own_and_others(policy, rows, rows, [tasks[item.sample.id] for item in judged])
        deltas = [one - other for one, other in zip(own, others, strict=True)]
        return [
            Relevance(torch.ones(len(item.verdicts), len(delta)), contrast=delta)
            for item, delta in zip(judged, deltas, strict=True)
        ]


class CriterionContrast(RelevanceSource):
    """p[k,t] = sigmoid(tau (delta_k[t] - b)), delta_k[t] = log pi(y_t | x) - log pi(y_t | x without criterion k).

    No discriminator and no rules: K + 1 forwards per response. x without a criterion has as its last turn the task and
    the other criteria that x asks for, with spaces between. Where x joins them otherwise, every delta holds that as
    well; where not, all tokens are alike to a criterion that x does not ask for. To an undecided one relevance is 0.

    It finds what a prompt makes likelier by naming it: wanted words, but also forbidden ones; hardly marks
    (docs/figures.md).

    Args:
        tau: Slope, > 0, per nat.
        b: Nats at which relevance is 1/2. Tokens that owe nothing to a criterion have sigmoid(-tau b).
    """

    def __init__(self, tau: float = 2.0, b: float = 1.0) -> None:
        if not tau > 0:
            raise UserError(f"tau must be above 0, got {tau}")
        self.tau, self.b = tau, b

    def problems(self, sample: RubricSample) -> list[str]:
        return _without_task(sample)

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        policy = _asked(policy, self)
        cells = _decided_cells(judged)
        samples = {judged[row].sample.id: judged[row].sample for row, _ in cells}
        asked = {(judged[row].sample.id, place) for row, place in cells}
        prompts = {(name, place): policy.render(without(samples[name], place).messages) for name, place in asked}
        again = [judged[row].rollout for row, _ in cells]
        lacking = [prompts[judged[row].sample.id, place] for row, place in cells]
        own, others = _own_and_others(policy, [item.rollout for item in judged], again, lacking)
        found = [torch.zeros(len(item.verdicts), len(item.rollout.response_ids)) for item in judged]
        for (row, place), other in zip(cells, others, strict=True):
            found[row][place] = (self.tau * (own[row] - other - self.b)).sigmoid()
        return [*map(Relevance, found)]


def _decided_cells(judged: Sequence[JudgedRollout]) -> list[tuple[int, int]]:
    """Row and criterion of each verdict that was reached, criterion by criterion: rows with equal prompts, which the
    forward computes once, then follow each other.
    """
    most = max((len(item.verdicts) for item in judged), default=0)
    return [
        (row, place)
        for place in range(most)
        for row, item in enumerate(judged)
        if place < len(item.verdicts) and item.verdicts[place].met is not None
    ]


def _own_and_others(
    policy: ScoresResponses, rows: Sequence[Rollout], again: Sequence[Rollout], prompts: Sequence[Sequence[int]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Log-probs of ``rows`` after their own prompts, and of ``again`` after ``prompts``. A collective, asked once."""
    found = policy.logprobs_after([*rows, *again], [*(row.prompt_ids for row in rows), *prompts])
    return found[: len(rows)], found[len(rows) :]


def _without_task(sample: RubricSample) -> list[str]:
    return [] if sample.task else ["the prompt has no task apart from its criteria: rows need the field `task`"]


def _asked(policy: ScoresResponses | None, source: RelevanceSource) -> ScoresResponses:
    if policy is None:
        raise UserError(
            f"{type(source).__name__} compares prompts by log-probs of the policy, and there is none here: it weighs "
            "responses in a run, or in a notebook with Collector.experience(judged, policy)"
        )
    return policy
