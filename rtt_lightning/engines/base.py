"""The base of rollout engines, which stream finished responses with exact tokens and log-probs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.lm.reasoning import answer_span, reasoning_marks
from rtt_lightning.lm.tokenizers import TokenBytes, end_of_turn
from rtt_lightning.types import Marks, Rollout
from rtt_lightning.types.errors import UserError

FEW_TOKENS = 16
"""Tokens of a response that are enough to tell whether an engine samples from the policy."""


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        n: Responses per prompt: the group size G in training.
        max_new_tokens: Longest response, the end token included.
        temperature: >= 0; all log-probs are at this temperature. 0 is greedy, for evaluation: always the most likely
            token, one response per prompt, with log-probs at temperature 1.
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
            raise UserError(f"sampling needs n >= 1 and max_new_tokens >= 1, got {self.n} and {self.max_new_tokens}")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"sampling temperature must be >= 0 and finite, got {self.temperature}; 0 is greedy")
        if self.greedy and self.n > 1:
            raise UserError(f"greedy responses to a prompt are all equal: at temperature 0 n must be 1, got {self.n}")
        if not 0 < self.top_p <= 1 or self.top_k < 0:
            raise UserError(f"sampling needs 0 < top_p <= 1 and top_k >= 0, got {self.top_p} and {self.top_k}")

    @property
    def greedy(self) -> bool:
        """Whether each token is the most likely one; top_p and top_k then have no effect."""
        return self.temperature == 0

    @property
    def logprob_temperature(self) -> float:
        """Temperature of the log-probs of these responses, > 0."""
        return self.temperature or 1.0

    @property
    def full_vocabulary(self) -> bool:
        """Whether samples come from the full softmax, so that the sampler's log-probs are the policy's."""
        return self.top_p == 1 and self.top_k == 0 and not self.greedy


@dataclass(frozen=True)
class SampleRequest:
    """One prompt to sample ``len(seeds)`` responses for.

    Attributes:
        prompt_id: Id of the `RubricSample`.
        group_id: Of all these responses.
        prompt_ids: Token ids of the prompt.
        seeds: One per response.
        reasoning: Pairs of marks around reasoning; ``None`` to find them with
            `rtt_lightning.lm.reasoning.reasoning_marks`.
    """

    prompt_id: str
    group_id: int
    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]
    reasoning: tuple[Marks, ...] | None = None


class PolicyWeights(Protocol):
    """What an engine may ask of a policy."""

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def base_model(self) -> str:
        """Folder or hub name of the model that the policy started from."""
        ...

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight under its Hugging Face name, adapters merged, one full tensor at a time."""
        ...


class RolloutEngine(ABC):
    """Samples responses from the current weights of a policy."""

    samples_elsewhere = False
    """Whether responses are sampled on other devices than the policy's, from a copy of its weights as of the last
    `sync`. Another thread may then call `generate` while the policy trains: it exchanges nothing between processes.
    """

    @abstractmethod
    def start(self, policy: PolicyWeights) -> None:
        """Prepare to sample from this policy with its current weights; called once before the first `generate`."""

    @abstractmethod
    def sync(self, policy: PolicyWeights) -> None:
        """Take the policy's current weights; called if they changed since the last `generate`."""

    @abstractmethod
    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """Stream responses as they finish, in any order, ``len(request.seeds)`` per request."""

    def probe(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """A few tokens from the full vocabulary, whose log-probs show whether the engine samples from the policy.

        Args:
            requests: One, or none for a process without prompts.
            sampling: How the run samples; its temperature is kept, and its length if that is shorter.
            policy_version: As for `generate`.
        """
        few = min(FEW_TOKENS, sampling.max_new_tokens)
        return self.generate(requests, Sampling(1, few, sampling.logprob_temperature), policy_version)


class RolloutBuilder:
    """Makes `Rollout` rows from sampled token ids, and raises ``FloatingPointError`` for log-probs that are not finite.

    Args:
        tokenizer: The policy's.
        end_ids: Token ids that end a response. They carry no characters, whether special or not.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: frozenset[int]) -> None:
        self._bytes = TokenBytes(tokenizer)
        self._found_marks = reasoning_marks(tokenizer)
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
        if not all(map(isfinite, logprobs or ())):
            raise FloatingPointError(
                f"the sampler's log-probs of a response to prompt {request.prompt_id} are not finite: its weights "
                "or its arithmetic are broken"
            )
        marks = self._found_marks if request.reasoning is None else request.reasoning
        text, offsets = self._bytes.text([self._spelling(token, marks) for token in response_ids])
        ended = bool(response_ids) and response_ids[-1] in self.end_ids
        return Rollout(
            prompt_id=request.prompt_id,
            group_id=request.group_id,
            sample_index=sample_index,
            prompt_ids=request.prompt_ids,
            response_ids=tuple(response_ids),
            text=text,
            offsets=offsets,
            answer_span=answer_span(text, marks, self._last_mark(request.prompt_ids, marks)),
            finish_reason="stop" if ended else "length",
            policy_version=policy_version,
            temperature=sampling.logprob_temperature,
            logprobs=None if logprobs is None else tuple(logprobs),
        )

    def _spelling(self, token_id: int, marks: Sequence[Marks]) -> bytes:
        """Bytes of a token; a special one has some only if marks contain it, so that these can be found."""
        if token_id in self.end_ids:
            return b""
        name = self._bytes.special.get(token_id)
        if name and any(name in mark for pair in marks for mark in pair):
            return name.encode()
        return self._bytes(token_id)

    def _last_mark(self, prompt_ids: Sequence[int], marks: Sequence[Marks]) -> str:
        """The mark that a prompt ends with, apart from white space; empty if none."""
        every = [mark for pair in marks for mark in pair]
        tail = prompt_ids[-8 - max((len(mark.encode()) for mark in every), default=0) :]
        end = self._bytes.text([self._spelling(token, marks) for token in tail])[0].rstrip()
        return next((mark for mark in every if end.endswith(mark)), "")


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a response: the generation config's, the tokenizer's end of sequence, its template's end of turn."""
    configured: Any = model.generation_config.eos_token_id if model.generation_config else None
    own: Any = tokenizer.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(int(i) for i in (*ids, own, end_of_turn(tokenizer)) if i is not None)
