"""Where token relevance comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rtt_lightning.types import Criterion, JudgedRollout, Rollout


@dataclass(frozen=True)
class Relevance:
    """What a source says of one response; all on the CPU, tokens are the policy's.

    Attributes:
        p: ``[rubric token]`` in [0, 1], how much each token matters to each criterion.
        read: ``[token]`` bool, the tokens that the source could read; ``None`` for all. The others are outside the
            token group, whatever their relevance.
        contrast: ``[token]``, log-probs of the tokens after another prompt; ``None`` where the source asked for none.
    """

    p: Tensor
    read: Tensor | None = None
    contrast: Tensor | None = None


class ScoresResponses(Protocol):
    """What a source may ask of the policy that sampled the responses."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

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

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """Those whose relevance cannot vary within a response: they earn no token-level credit.

        Args:
            criteria: Some of the data.
            gives_spans: Whether their verdicts could say which characters decided, `Verifier.gives_spans`.

        Raises:
            ValueError: If something that the source needs is missing; nothing large is loaded to see it.
        """
        return []
