"""Responses, sampled and judged, and their rows in files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from zlib import crc32

from rtt_lightning.types.rubric import Criterion, RubricSample, Span, Verdict


@dataclass(frozen=True)
class Rollout:
    """One sampled response, with exactly the tokens that the sampler produced.

    Attributes:
        prompt_id: Id of the `RubricSample`.
        group_id: Responses with equal ids are compared with each other; positions mean nothing.
        sample_index: Number of the response within its group.
        prompt_ids: Token ids of the prompt.
        response_ids: Token ids of the response, the end-of-sequence token included if it was sampled.
        text: The decoded response, without end and special tokens except for marks of reasoning.
        offsets: Per response token, the characters of ``text`` that it carries; empty for end and special tokens.
        answer_span: The part of ``text`` that verifiers see: what follows reasoning, or all.
        finish_reason: ``"stop"`` (end token sampled) or ``"length"`` (cut off at the token limit).
        policy_version: Number of weight updates behind the sampling weights.
        temperature: Of the log-probs, > 0: the sampling temperature, or 1 for a greedy response.
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

    @classmethod
    def of_text(
        cls,
        prompt_id: str,
        text: str,
        answer_span: Span | None = None,
        group_id: int | None = None,
        sample_index: int = 0,
    ) -> Rollout:
        """A response of which only the text is known, without tokens.

        Args:
            prompt_id: Id of the `RubricSample`.
            text: Of the response.
            answer_span: By default all of the text.
            group_id: By default made from the prompt's id.
            sample_index: Number of the response within its group.
        """
        return cls(
            prompt_id=prompt_id,
            group_id=crc32(prompt_id.encode()) if group_id is None else group_id,
            sample_index=sample_index,
            prompt_ids=(),
            response_ids=(),
            text=text,
            offsets=(),
            answer_span=(0, len(text)) if answer_span is None else answer_span,
            finish_reason="stop",
            policy_version=0,
            temperature=1.0,
        )

    def first(self, tokens: int) -> Rollout:
        """The response with only its first ``tokens``; its text stays whole."""
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
        verdicts: Strict verdicts, on the answer as it is.
        loose: Loose verdicts, if requested; see `rtt_lightning.verifiers.rules.checkers`.
        relevance: ``[rubric token]``, if recorded.
        advantages: ``[token]``, if recorded.
    """

    sample: RubricSample
    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    loose: tuple[Verdict, ...] | None = None
    relevance: tuple[tuple[float, ...], ...] | None = None
    advantages: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        assert len(self.verdicts) == len(self.sample.criteria), "one verdict per criterion"

    def __repr__(self) -> str:
        desired, rollout = self.as_desired, self.rollout
        counts = f"{desired.count(True)} of {len(desired)} criteria as desired, {desired.count(None)} undecided"
        return f"JudgedRollout({self.sample.id!r}, sample {rollout.sample_index}: {counts}, {rollout.text!r:.60})"

    @property
    def decisions(self) -> Iterator[tuple[Criterion, Verdict]]:
        """Criteria with their verdicts."""
        return zip(self.sample.criteria, self.verdicts, strict=True)

    @property
    def as_desired(self) -> list[bool | None]:
        """Whether each criterion is as desired; ``None`` if unscorable."""
        return [verdict.as_desired(criterion) for criterion, verdict in self.decisions]

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again: a row of parquet or JSONL.

        It has the fields of `RubricSample.to_row`, with ``criteria`` and their verdicts as one JSON text, since parquet
        needs the arguments of all checkers to have one type; ``response``, the judged answer; and the fields of the
        `Rollout`.
        """
        criteria = [criterion.to_row() | verdict.to_row() for criterion, verdict in self.decisions]
        for entry, verdict in zip(criteria, self.loose or (), strict=False):
            entry["loose"] = verdict.to_row()
        row = self.sample.to_row() | {"criteria": json.dumps(criteria), "response": self.rollout.answer}
        row |= {name: getattr(self.rollout, name) for name in SAMPLED}
        return row | {name: getattr(self, name) for name in RECORDED}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> JudgedRollout:
        """What `to_row` made, also after JSON and parquet; ``criteria`` may be a list.

        Any field of the rollout may be missing; its default is that of `Rollout.of_text`: version 0.1.0 wrote neither
        group nor prompt nor log-probs, and its answers end their texts. Rows of other origin go through
        `rtt_lightning.datamodules.records`, which says what is wrong with them.
        """
        criteria = json.loads(row["criteria"]) if isinstance(row["criteria"], str) else row["criteria"]
        sample, answer = RubricSample.from_row({**row, "criteria": criteria}), row["response"]
        known = {name: _tuples(row[name]) for name in (*SAMPLED, *RECORDED) if row.get(name) is not None}
        recorded = {name: known.pop(name, None) for name in RECORDED}
        text = known.get("text", answer)
        rollout = replace(Rollout.of_text(sample.id, text, (len(text) - len(answer), len(text))), **known)
        forgiving = [entry.get("loose") for entry in criteria]
        loose = tuple(map(Verdict.from_row, forgiving)) if all(forgiving) else None
        return cls(sample, rollout, tuple(map(Verdict.from_row, criteria)), loose, **recorded)


SAMPLED = tuple(name for name in Rollout.__annotations__ if name != "prompt_id")
RECORDED = ("relevance", "advantages")
"""Fields of a row: of the `Rollout`, and further ones."""


def _tuples(value: Any) -> Any:
    """Make tuples from the lists of JSON and parquet."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
