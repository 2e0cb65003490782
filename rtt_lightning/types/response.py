"""Responses, sampled and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rtt_lightning.types.rubric import RubricSample, Span, Verdict


@dataclass(frozen=True)
class Rollout:
    """One sampled response, with exactly the tokens that the sampler produced.

    Attributes:
        prompt_id: Id of the `RubricSample`.
        group_id: Responses with equal ids are compared with each other; positions mean nothing.
        sample_index: Number of the response within its group.
        prompt_ids: Token ids of the prompt.
        response_ids: Token ids of the response, the end-of-sequence token included if it was sampled.
        text: The decoded response, without end tokens and special ones but for the marks of reasoning.
        offsets: Per response token, the characters of ``text`` that it carries; empty for end and special tokens.
        answer_span: The part of ``text`` that verifiers see: what follows the reasoning, or all of it.
        finish_reason: ``"stop"`` (end token sampled) or ``"length"`` (cut off at the token limit).
        policy_version: Number of weight updates behind the sampling weights.
        temperature: At which log-probs are taken, > 0: the sampling temperature, or 1 for a greedy response.
        logprobs: Per response token, log-softmax(logits / temperature) over the full vocabulary as computed by the
            sampler; ``None`` where the sampler computed anything else (top-p, top-k).
    """

    prompt_id: str
    group_id: int
    sample_index: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    text: str
    offsets: tuple[Span, ...]
    answer_span: Span
    finish_reason: Literal["stop", "length"]
    policy_version: int
    temperature: float
    logprobs: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        assert len(self.offsets) == len(self.response_ids), "one offset per response token"
        assert self.logprobs is None or len(self.logprobs) == len(self.response_ids), "one log-prob per token"

    def first(self, tokens: int) -> Rollout:
        """The same response up to a number of tokens; its text stays whole."""
        logprobs = None if self.logprobs is None else self.logprobs[:tokens]
        return replace(self, response_ids=self.response_ids[:tokens], offsets=self.offsets[:tokens], logprobs=logprobs)

    @property
    def answer(self) -> str:
        """The text that verifiers see."""
        return self.text[self.answer_span[0] : self.answer_span[1]]

    @property
    def answer_tokens(self) -> list[bool]:
        """Per response token, whether it carries characters of the answer."""
        return [max(a, self.answer_span[0]) < min(b, self.answer_span[1]) for a, b in self.offsets]


@dataclass(frozen=True)
class JudgedRollout:
    """A response with its rubric's verdicts, one per criterion in rubric order.

    Attributes:
        verdicts: Strict ones, of the answer as it is.
        loose: Loose ones, where they were asked for; see `rtt_lightning.verifiers.loose`.
    """

    sample: RubricSample
    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    loose: tuple[Verdict, ...] | None = None

    def __post_init__(self) -> None:
        assert len(self.verdicts) == len(self.sample.criteria), "one verdict per criterion"
