"""Where token relevance comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from rtt_lightning.types import Criterion, JudgedRollout, Message, Rollout, RubricSample


@dataclass(frozen=True)
class Relevance:
    """What a source says of one response; all on the CPU, tokens are the policy's.

    Attributes:
        p: ``[rubric token]`` in [0, 1], how much each token matters to each criterion.
        read: ``[token]`` bool, the tokens that the source could read; ``None`` for all. The others are outside the
            token group, whatever their relevance.
        contrast: ``[token]``, what the source found by comparing prompts, such as log-probs of the tokens after
            another one; ``None`` where it compared none.
    """

    p: Tensor
    read: Tensor | None = None
    contrast: Tensor | None = None


@runtime_checkable
class ScoresResponses(Protocol):
    """What a source may ask of the policy that sampled the responses."""

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a conversation, as those of a prompt: up to where the response begins."""
        ...

    def logprobs_after(self, rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Log-probs of the tokens of each response, had it followed another prompt, see `rtt_lightning.lm.sequences`.
        A collective where the policy is sharded.
        """
        ...


class RelevanceSource(ABC):
    """Says how much each response token matters to each criterion."""

    @abstractmethod
    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """The relevance of each response.

        Args:
            judged: The responses of this process, if any.
            policy: For a source that needs it; all processes must then ask it, also those without responses.
        """

    def problems(self, sample: RubricSample) -> list[str]:
        """What keeps it from weighing responses to a sample, in words; asked before anything is sampled."""
        return []

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """Those whose relevance cannot vary within a response: they earn no token-level credit.

        Args:
            criteria: Some of the data.
            gives_spans: Whether their verdicts could say which characters decided, `Verifier.gives_spans`.

        Raises:
            ValueError: If something that the source needs is missing; nothing large is loaded to see it.
        """
        return []
