"""Rubrics and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rtt_lightning.types.conversations import Message, conversation
from rtt_lightning.types.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Truth = TypeVar("Truth", bool, "Tensor")
Weight = TypeVar("Weight", float, "Tensor")


class OutsideFailure(RuntimeError):
    """A server or judge that the run depends on failed. Ends the run; says what was kept and how to continue."""


Span = tuple[int, int]
"""Half-open range of characters ``[start, end)``."""

Scope = Literal["global", "local"]
"""What is relevant to a criterion: the whole answer, or the characters that decide."""

Polarity = Literal["positive", "negative"]
"""Whether a criterion asks for something (which can be found where it is met) or forbids it (where it is not)."""

Marks = tuple[str, str]
"""The opening and the closing mark of reasoning."""


def checked_share(value: float, name: str) -> float:
    """The value, if it is in [0, 1].

    Raises:
        UserError: If it is not; names it ``name``.
    """
    if not 0 <= value <= 1:
        raise UserError(f"{name} must be between 0 and 1, got {value}")
    return value


def as_desired(met: Truth, weight: Weight) -> Truth:
    """Whether wanted criteria (weight > 0) are met and unwanted ones are not; for bools or tensors."""
    return met == (weight > 0)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Criterion:
    """A criterion of a rubric, with the checker that decides it.

    Attributes:
        text: The criterion as a sentence; "met" means that this sentence is true of the response.
        checker: Checker id, e.g. ``rtt:include_word`` or ``keywords:existence``.
        kwargs: Arguments of the checker.
        weight: Finite and not 0. Negative: an unwanted criterion, as desired when it is *not* met.
        hard: Whether it can be decided objectively; ``None``: if no judge decides it.
    """

    text: str
    checker: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    hard: bool | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise UserError("criterion text is empty; write the criterion as a sentence")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise UserError(f"criterion weight must be finite and not 0, got {self.weight}")

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again, with ``hard`` if it is not ``None``."""
        row = {"text": self.text, "checker": self.checker, "kwargs": dict(self.kwargs), "weight": self.weight}
        return row if self.hard is None else row | {"hard": self.hard}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Criterion:
        """What `to_row` made; the row may also hold a verdict."""
        return cls(row["text"], row["checker"], row["kwargs"], row["weight"], row.get("hard"))

    @property
    def label(self) -> str:
        """The text for people, with its weight if not 1: with a negative one, "as desired" is *not* met."""
        return self.text if self.weight == 1 else f"{self.text} (weight {self.weight:g})"


@dataclass(frozen=True)
class RubricSample:
    """A prompt and its rubric.

    Attributes:
        id: Unique within a dataset; sampling seeds depend on it.
        messages: The conversation as rendered for the policy, criteria included; see `conversation`.
        criteria: The rubric, at least one criterion.
        task: The bare task without its criteria, if the source separates them; else ``None``.
    """

    id: str
    messages: tuple[Message, ...]
    criteria: tuple[Criterion, ...]
    task: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", conversation(self.messages))  # frozen
        if not self.criteria:
            raise UserError("criteria is empty; a sample needs at least one criterion")

    @property
    def text(self) -> str:
        """The texts of all turns, joined."""
        return "\n".join(message["content"] for message in self.messages)

    @property
    def asked(self) -> str:
        """The prompt in short, for people: the bare task, or the last turn."""
        return self.task or self.messages[-1]["content"]

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again."""
        criteria = [criterion.to_row() for criterion in self.criteria]
        return {"id": self.id, "messages": list(self.messages), "task": self.task, "criteria": criteria}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> RubricSample:
        """What `to_row` made; the row may also hold a judged response."""
        return cls(row["id"], row["messages"], tuple(map(Criterion.from_row, row["criteria"])), row["task"])


STEERING, SHORTENED, MISQUOTED = "steering", "shortened", "misquoted"
"""Flags of verdicts: the response tries to steer its judge; the judge saw only part of a text; it was asked for the
words that decide, and quoted none, or such as the response does not have."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one criterion and one answer.

    Attributes:
        met: ``True`` or ``False``; ``None`` is *unscorable*: masked out everywhere, never counted as unmet.
        reason: Why, in one short sentence.
        spans: The characters of the answer that decide the verdict: all for a length or a language, else the words that
            satisfy or violate the criterion, none if an absence decides. ``None`` if the checker cannot tell.
        flags: Warnings, `STEERING`, `SHORTENED` and `MISQUOTED`; they are counted and logged.
        scope: Of the criterion.
        polarity: Of the criterion.
        value: Degree to which the criterion is met, in [0, 1]; ``None`` for no degrees: 1 or 0.
        confidence: In the verdict, in [0, 1].
        spans_by: Who gave the spans, such as ``judge`` or ``annotator``; empty for the checker that gave the verdict.
        span_relevance: How much each span counts, in [0, 1]; empty: all 1.
    """

    met: bool | None
    reason: str
    spans: tuple[Span, ...] | None = None
    flags: tuple[str, ...] = ()
    scope: Scope = "local"
    value: float | None = None
    confidence: float = 1.0
    polarity: Polarity = "positive"
    spans_by: str = ""
    span_relevance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        checked_share(self.confidence, "confidence")
        checked_share(0.0 if self.value is None else self.value, "value")
        for share in self.span_relevance:
            checked_share(share, "span_relevance")
        spans, shares = len(self.spans or ()), len(self.span_relevance)
        if shares not in (0, spans):
            raise UserError(f"{shares} of span_relevance for {spans} spans; give each one")

    def relevant(self, length: int) -> tuple[Span, ...] | None:
        """The characters of an answer of this length that are relevant to the criterion; ``None`` if unknown."""
        return ((0, length),) if self.scope == "global" else self.spans

    def as_desired(self, criterion: Criterion) -> bool | None:
        """Whether a wanted criterion is met or an unwanted one is not; ``None`` if unscorable."""
        return None if self.met is None else as_desired(self.met, criterion.weight)

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again, with the last five fields unless they are the defaults."""
        row = {"met": self.met, "reason": self.reason, "spans": self.spans, "flags": self.flags, "scope": self.scope}
        return row | {name: getattr(self, name) for name, default in LATER.items() if getattr(self, name) != default}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Verdict:
        """What `to_row` made; the row may also hold the criterion."""
        spans = None if row["spans"] is None else tuple((start, end) for start, end in row["spans"])
        later = {name: row.get(name, default) for name, default in LATER.items()}
        later["span_relevance"] = tuple(later["span_relevance"])
        return cls(row["met"], row["reason"], spans, tuple(row["flags"]), row["scope"], **later)

    @classmethod
    def unscorable(cls, reason: str) -> Verdict:
        """A criterion without a verdict, and why."""
        return cls(None, reason)


LATER: dict[str, Any] = {"value": None, "confidence": 1.0, "polarity": "positive", "spans_by": "", "span_relevance": ()}
"""Fields that rows have only with other values than these."""
