"""The base of relevance sources."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from rtt_lightning.types import Criterion, JudgedRollout, Message, Rollout, RubricSample


@dataclass(frozen=True)
class Relevance:
    """The relevance of one response, by the policy's tokens, on the CPU.

    Attributes:
        p: ``[rubric token]`` in [0, 1], how much each token matters to each criterion.
        read: ``[token]`` bool, the tokens that the source could read; ``None`` for all. The others are outside the
            token group, whatever their relevance.
        contrast: ``[token]``, from a comparison of prompts, such as log-probs of the tokens after another prompt;
            ``None`` without one.
    """

    p: Tensor
    read: Tensor | None = None
    contrast: Tensor | None = None


@runtime_checkable
class ScoresResponses(Protocol):
    """What a source may ask of the policy."""

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a conversation up to where the response begins."""
        ...

    def logprobs_after(self, rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Log-probs of the tokens of each response after another prompt, see `rtt_lightning.lm.sequences`.
        A collective if the policy is sharded.
        """
        ...


class RelevanceSource(ABC):
    """Says how much each response token matters to each criterion."""

    @abstractmethod
    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """The relevance of each response.

        Args:
            judged: The responses of this process, if any.
            policy: For a source that needs it; then all processes must ask it, also those without responses.
        """

    def begin(self, sample: RubricSample, rollouts: Sequence[Rollout]) -> None:  # noqa: B027 - most need not
        """Compute what needs no verdicts, and keep it for the next `weigh`; by default nothing.

        Called during a window of training when all responses to a prompt have ended, while others are sampled or
        judged.
        """

    def problems(self, sample: RubricSample) -> list[str]:
        """Why responses to a sample cannot be weighed, in words; called before anything is sampled."""
        return []

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """The criteria whose relevance cannot vary within a response: they earn no token-level credit.

        Args:
            criteria: From the data.
            gives_spans: `Verifier.gives_spans`: whether verdicts could say which characters decided.

        Raises:
            ValueError: If the source lacks something. Nothing large is loaded to check.
        """
        return []
