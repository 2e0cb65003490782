"""What every rollout engine is: it streams finished responses, with exact tokens and log-probs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.functional.alignment import decode_with_offsets
from rtt_lightning.tokenizers import TokenBytes
from rtt_lightning.types import Rollout, Span


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        n: Responses per prompt: the group size G in training.
        max_new_tokens: Longest response, the end token included.
        temperature: >= 0; log-probs are taken at this temperature everywhere. 0 is greedy: the most likely token each
            time, one response per prompt, for evaluation; log-probs are then taken at temperature 1.
        top_p: Nucleus, in (0, 1]; 1 keeps the full vocabulary.
        top_k: Most likely tokens kept; 0 keeps the full vocabulary.
    """

    n: int = 8
    max_new_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or self.max_new_tokens < 1:
            raise ValueError(f"sampling needs n >= 1 and max_new_tokens >= 1, got {self.n} and {self.max_new_tokens}")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"sampling temperature must be >= 0 and finite, got {self.temperature}; 0 is greedy")
        if self.greedy and self.n > 1:
            raise ValueError(f"greedy responses to a prompt are all equal: at temperature 0 n must be 1, got {self.n}")
        if not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError(f"sampling needs 0 < top_p <= 1 and top_k >= 0, got {self.top_p} and {self.top_k}")

    @property
    def greedy(self) -> bool:
        """Whether each token is the most likely one; top_p and top_k then change nothing."""
        return self.temperature == 0

    @property
    def logprob_temperature(self) -> float:
        """Temperature that log-probs of these responses are taken at, > 0."""
        return self.temperature or 1.0

    @property
    def full_vocabulary(self) -> bool:
        """Whether samples come from the full softmax, so that the sampler's log-probs are those of the policy."""
        return self.top_p == 1 and self.top_k == 0 and not self.greedy


@dataclass(frozen=True)
class SampleRequest:
    """One prompt to sample ``len(seeds)`` responses for; the group id is what the responses will share."""

    prompt_id: str
    group_id: int
    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]


class PolicyWeights(Protocol):
    """What an engine may ask of a policy."""

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def base_model(self) -> str:
        """Folder or hub name that the policy started from."""
        ...

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight under its Hugging Face name, adapters merged, one full tensor at a time."""
        ...


class RolloutEngine(ABC):
    """Samples responses from the current weights of a policy."""

    @abstractmethod
    def start(self, policy: PolicyWeights) -> None:
        """Get ready to sample from this policy and its current weights; called once before the first `generate`."""

    @abstractmethod
    def sync(self, policy: PolicyWeights) -> None:
        """Take over the policy's current weights; called whenever they changed since the last `generate`."""

    @abstractmethod
    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """Stream responses as they finish, in any order, ``len(request.seeds)`` per request."""


class RolloutBuilder:
    """Makes `Rollout` rows from sampled token ids.

    Args:
        tokenizer: The policy's.
        end_ids: Token ids that end a response.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: frozenset[int]) -> None:
        self._bytes = TokenBytes(tokenizer)
        self.end_ids = end_ids

    def __call__(
        self,
        request: SampleRequest,
        sample_index: int,
        response_ids: Sequence[int],
        logprobs: Sequence[float] | None,
        sampling: Sampling,
        policy_version: int,
    ) -> Rollout:
        text, offsets = decode_with_offsets([self._bytes(token) for token in response_ids])
        ended = bool(response_ids) and response_ids[-1] in self.end_ids
        return Rollout(
            prompt_id=request.prompt_id,
            group_id=request.group_id,
            sample_index=sample_index,
            prompt_ids=request.prompt_ids,
            response_ids=tuple(response_ids),
            text=text,
            offsets=offsets,
            answer_span=answer_span(text, self._opens_reasoning(request.prompt_ids)),
            finish_reason="stop" if ended else "length",
            policy_version=policy_version,
            temperature=sampling.logprob_temperature,
            logprobs=None if logprobs is None else tuple(logprobs),
        )

    def _opens_reasoning(self, prompt_ids: Sequence[int]) -> bool:
        end, _ = decode_with_offsets([self._bytes(token) for token in prompt_ids[-8:]])
        return end.rstrip().endswith("<think>")


def answer_span(text: str, reasoning: bool = False) -> Span:
    """What follows the reasoning part ``<think>...</think>``: all of the text without one, nothing if it never ends.

    Args:
        text: A response.
        reasoning: Whether the prompt ends within the reasoning, as some chat templates have it. Elsewhere it begins the
            response; a ``</think>`` that nothing opened hides nothing from a verifier.
    """
    if not reasoning and not text.lstrip().startswith("<think>"):
        return 0, len(text)
    end = text.find("</think>")
    return (len(text) if end < 0 else end + len("</think>")), len(text)


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a response: the generation config's, and the tokenizer's end-of-sequence token."""
    configured: Any = model.generation_config.eos_token_id if model.generation_config else None
    own: Any = tokenizer.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(int(i) for i in (*ids, own) if i is not None)
