"""Controls: relevance without information, which a source must beat."""

from collections.abc import Callable, Sequence

import torch

from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.runtime.seeds import sampling_seed
from rtt_lightning.types import Criterion, JudgedRollout


class UniformRelevance(RelevanceSource):
    """Every token matters equally: token credit vanishes, and RTT becomes plain GRPO."""

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [*criteria]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        return [Relevance(torch.ones(_shape(item))) for item in judged]


class RandomRelevance(RelevanceSource):
    """Uniform noise, harmful on purpose: shows that relevance must mean something.

    Args:
        seed: The noise of a response depends only on it, the prompt, the sample index and the policy version.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        return [Relevance(torch.rand(_shape(item), generator=self._generator(item))) for item in judged]

    def _generator(self, item: JudgedRollout) -> torch.Generator:
        rollout = item.rollout
        key = sampling_seed(self.seed, rollout.policy_version, rollout.prompt_id, rollout.sample_index)
        return torch.Generator().manual_seed(key)


def _shape(item: JudgedRollout) -> tuple[int, int]:
    return len(item.verdicts), len(item.rollout.response_ids)
