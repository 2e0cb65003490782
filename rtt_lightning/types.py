"""The nouns of rubric-based RL, documented once.

Axes, always in this order: ``batch`` (prompts x responses per prompt), ``rubric`` (criteria, padded to the
longest rubric), ``token`` (response tokens, padded to the longest response).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # processes that check rules start without torch
    from torch import Tensor


class OutsideFailure(RuntimeError):
    """What a run depends on failed: a server, a judge. Ends the run; says what was kept and how to go on."""


Span = tuple[int, int]
"""Half-open range of characters ``[start, end)``."""

Scope = Literal["global", "local"]
"""What is relevant to a criterion: the whole answer, or the characters that decide it."""

Marks = tuple[str, str]
"""What opens a reasoning part and what closes it."""

Message = dict[str, str]
"""One chat turn: ``{"role": ..., "content": ...}``."""


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric, with the checker that decides it.

    Attributes:
        text: The criterion as a sentence; "met" means that this sentence is true of the response.
        checker: Checker id, e.g. ``rtt:include_word`` or ``keywords:existence``.
        kwargs: Arguments of the checker.
        weight: Finite and not 0. Negative: an unwanted criterion, as desired when it is *not* met.
    """

    text: str
    checker: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("criterion text is empty; write the criterion as a sentence")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise ValueError(f"criterion weight must be finite and not 0, got {self.weight}")

    @property
    def label(self) -> str:
        """The text for people, with a weight that is not 1: beside a negative one "as desired" is *not* met."""
        return self.text if self.weight == 1 else f"{self.text} (weight {self.weight:g})"


@dataclass(frozen=True)
class RubricSample:
    """A prompt and its rubric.

    Attributes:
        id: Unique within a dataset; sampling seeds depend on it.
        messages: The conversation as rendered for the policy, criteria included.
        criteria: The rubric, at least one criterion.
        task: The bare task without its criteria, where the source keeps them apart; else ``None``.
    """

    id: str
    messages: tuple[Message, ...]
    criteria: tuple[Criterion, ...]
    task: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (("messages", "user message"), ("criteria", "criterion")):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; a sample needs at least one {kind}")

    @property
    def text(self) -> str:
        """What all turns say, one below the other."""
        return "\n".join(message["content"] for message in self.messages)


STEERING, SHORTENED = "steering", "shortened"
"""Flags of verdicts: the response speaks to its judge; the judge was shown a part of it only."""


@dataclass(frozen=True)
class Verdict:
    """What a checker says of one criterion and one answer.

    Attributes:
        met: ``True`` or ``False``; ``None`` is *unscorable*: masked out everywhere, never counted as unmet.
        reason: Why, in one short sentence.
        spans: The characters of the answer that decide the verdict: all of them for a length or a language, else the
            words that satisfy or violate the criterion, nothing where it is decided by an absence. ``None`` where the
            checker cannot tell.
        flags: What whoever reads it should know, `STEERING` and `SHORTENED`; they are counted and logged.
        scope: Of the criterion.
    """

    met: bool | None
    reason: str
    spans: tuple[Span, ...] | None = None
    flags: tuple[str, ...] = ()
    scope: Scope = "local"

    def relevant(self, length: int) -> tuple[Span, ...] | None:
        """The characters of an answer of some length that are relevant to the criterion; ``None`` where unknown."""
        return ((0, length),) if self.scope == "global" else self.spans

    def as_desired(self, criterion: Criterion) -> bool | None:
        """Whether a wanted criterion is met or an unwanted one is not; ``None`` where unscorable."""
        return None if self.met is None else self.met == (criterion.weight > 0)

    @classmethod
    def unscorable(cls, reason: str) -> Verdict:
        """No verdict could be reached."""
        return cls(None, reason)


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
class Experience:
    """A window of judged rollouts as tensors: everything that `PolicyModule.advantages` can need.

    Attributes:
        group_ids: ``[batch]`` long.
        weights: ``[batch rubric]`` float, criterion weights; 0 marks padding.
        met: ``[batch rubric]`` bool verdicts; meaningless where not ``scorable``.
        scorable: ``[batch rubric]`` bool, False for padding and for unscorable verdicts.
        relevance: ``[batch rubric token]`` float in [0, 1].
        answer_mask: ``[batch token]`` bool, the token group: tokens of the answer that the relevance source could read.
        response_mask: ``[batch token]`` bool, all response tokens, the end token included.
        prompt_ids: ``[batch prompt]`` long, right-padded.
        prompt_lengths: ``[batch]`` long.
        response_ids: ``[batch token]`` long, right-padded.
        sampler_logprobs: ``[batch token]`` float; NaN where the sampler gave none.
        temperature: ``[batch]`` float, the sampling temperature.
    """

    group_ids: Tensor
    weights: Tensor
    met: Tensor
    scorable: Tensor
    relevance: Tensor
    answer_mask: Tensor
    response_mask: Tensor
    prompt_ids: Tensor
    prompt_lengths: Tensor
    response_ids: Tensor
    sampler_logprobs: Tensor
    temperature: Tensor

    @property
    def exists(self) -> Tensor:
        """``[batch rubric]`` bool: a criterion, not padding."""
        return self.weights != 0

    @property
    def as_desired(self) -> Tensor:
        """``[batch rubric]`` bool: met and wanted, or unmet and unwanted; False where not scorable."""
        return (self.met == (self.weights > 0)) & self.scorable

    @property
    def decided(self) -> Tensor:
        """``[batch]`` bool: no criterion is unscorable."""
        return (self.scorable | ~self.exists).all(1)

    @property
    def signs(self) -> Tensor:
        """``[batch rubric]`` float s = sign(w)(2I - 1), in {-1, 0, +1}; 0 where not scorable."""
        return (2.0 * self.as_desired - 1.0) * self.scorable


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
