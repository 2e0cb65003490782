"""Where token relevance comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rtt_lightning.functional.alignment import spans_to_tokens
from rtt_lightning.runtime.seeds import sampling_seed
from rtt_lightning.types import Criterion, JudgedRollout


class RelevanceSource(ABC):
    """Says how much each response token matters to each criterion."""

    @abstractmethod
    def weigh(self, judged: Sequence[JudgedRollout]) -> list[Tensor]:
        """Relevance p in [0, 1], ``[rubric token]`` per response, on the CPU; tokens are the policy's."""

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """Those whose relevance cannot vary within a response: they earn no token-level credit.

        Args:
            criteria: Some of the data.
            gives_spans: Whether their verdicts could say which characters decided, `Verifier.gives_spans`.

        Raises:
            ValueError: If something that the source needs is missing; nothing large is loaded to see it.
        """
        return []

    def weigh_read(self, judged: Sequence[JudgedRollout]) -> list[tuple[Tensor, Tensor]]:
        """What `weigh` gives, and ``[token]`` bool: the tokens that the source could read, by default all of them.

        The others are outside the token group, whatever their relevance.
        """
        return [(weight, torch.ones(weight.shape[1], dtype=torch.bool)) for weight in self.weigh(judged)]


class UniformRelevance(RelevanceSource):
    """Every token matters equally: token credit vanishes and RTT becomes plain GRPO. A control."""

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [*criteria]

    def weigh(self, judged: Sequence[JudgedRollout]) -> list[Tensor]:
        return [torch.ones(_shape(item)) for item in judged]


class RandomRelevance(RelevanceSource):
    """Uniform noise, harmful on purpose: the control that shows that relevance must mean something.

    Args:
        seed: The noise of a response depends on it, on its prompt and sample index and on its policy version alone.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def weigh(self, judged: Sequence[JudgedRollout]) -> list[Tensor]:
        return [torch.rand(_shape(item), generator=self._generator(item)) for item in judged]

    def _generator(self, item: JudgedRollout) -> torch.Generator:
        rollout = item.rollout
        key = sampling_seed(self.seed, rollout.policy_version, rollout.prompt_id, rollout.sample_index)
        return torch.Generator().manual_seed(key)


class RuleSpans(RelevanceSource):
    """The characters that decided the verdict, as the checker reports them; all for a global criterion: exact 0/1
    relevance, free of charge.

    Where a checker cannot tell its spans, all answer tokens count as relevant.
    """

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        return [criterion for criterion in criteria if not gives_spans(criterion)]

    def weigh(self, judged: Sequence[JudgedRollout]) -> list[Tensor]:
        return [_rule_spans(item) for item in judged]


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


def _shape(item: JudgedRollout) -> tuple[int, int]:
    return len(item.verdicts), len(item.rollout.response_ids)
