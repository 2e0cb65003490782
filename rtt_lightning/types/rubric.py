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
    """What a run depends on failed: a server, a judge. Ends the run; says what was kept and how to go on."""


Span = tuple[int, int]
"""Half-open range of characters ``[start, end)``."""

Scope = Literal["global", "local"]
"""What is relevant to a criterion: the whole answer, or the characters that decide it."""

Marks = tuple[str, str]
"""What opens a reasoning part and what closes it."""


def checked_share(value: float, name: str) -> float:
    """The value.

    Raises:
        UserError: If it does not lie in [0, 1], by its ``name``.
    """
    if not 0 <= value <= 1:
        raise UserError(f"{name} must be between 0 and 1, got {value}")
    return value


def as_desired(met: Truth, weight: Weight) -> Truth:
    """Whether wanted criteria (weight > 0) are met and unwanted ones are not; of bools or of tensors."""
    return met == (weight > 0)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric, with the checker that decides it.

    Attributes:
        text: The criterion as a sentence; "met" means that this sentence is true of the response.
        checker: Checker id, e.g. ``rtt:include_word`` or ``keywords:existence``.
        kwargs: Arguments of the checker.
        weight: Finite and not 0. Negative: an unwanted criterion, as desired when it is *not* met.
        hard: Whether it can be decided objectively, where the data says so; ``None``: it is if no judge decides it.
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
        """Plain data that `from_row` reads again; ``hard`` stands in it where the data says so."""
        row = {"text": self.text, "checker": self.checker, "kwargs": dict(self.kwargs), "weight": self.weight}
        return row if self.hard is None else row | {"hard": self.hard}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Criterion:
        """What `to_row` made, also where the row holds a verdict too."""
        return cls(row["text"], row["checker"], row["kwargs"], row["weight"], row.get("hard"))

    @property
    def label(self) -> str:
        """The text for people, with a weight that is not 1: beside a negative one "as desired" is *not* met."""
        return self.text if self.weight == 1 else f"{self.text} (weight {self.weight:g})"


@dataclass(frozen=True)
class RubricSample:
    """A prompt and its rubric.

    Attributes:
        id: Unique within a dataset; sampling seeds depend on it.
        messages: The conversation as rendered for the policy, criteria included; see `conversation`.
        criteria: The rubric, at least one criterion.
        task: The bare task without its criteria, where the source keeps them apart; else ``None``.
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
        """What all turns say, one below the other."""
        return "\n".join(message["content"] for message in self.messages)

    @property
    def asked(self) -> str:
        """What people are shown of it: the bare task, or the last turn."""
        return self.task or self.messages[-1]["content"]

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again."""
        criteria = [criterion.to_row() for criterion in self.criteria]
        return {"id": self.id, "messages": list(self.messages), "task": self.task, "criteria": criteria}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> RubricSample:
        """What `to_row` made, also where the row holds a judged response too."""
        return cls(row["id"], row["messages"], tuple(map(Criterion.from_row, row["criteria"])), row["task"])


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
        value: To which degree the criterion is met, in [0, 1]; ``None`` where there are no degrees: 1 or 0.
        confidence: In the verdict, in [0, 1].
    """

    met: bool | None
    reason: str
    spans: tuple[Span, ...] | None = None
    flags: tuple[str, ...] = ()
    scope: Scope = "local"
    value: float | None = None
    confidence: float = 1.0

    def __post_init__(self) -> None:
        checked_share(self.confidence, "confidence")
        checked_share(0.0 if self.value is None else self.value, "value")

    def relevant(self, length: int) -> tuple[Span, ...] | None:
        """The characters of an answer of some length that are relevant to the criterion; ``None`` where unknown."""
        return ((0, length),) if self.scope == "global" else self.spans

    def as_desired(self, criterion: Criterion) -> bool | None:
        """Whether a wanted criterion is met or an unwanted one is not; ``None`` where unscorable."""
        return None if self.met is None else as_desired(self.met, criterion.weight)

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again; ``value`` and ``confidence`` stand in it where they say something."""
        row = {"met": self.met, "reason": self.reason, "spans": self.spans, "flags": self.flags, "scope": self.scope}
        row |= {} if self.value is None else {"value": self.value}
        return row if self.confidence == 1 else row | {"confidence": self.confidence}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Verdict:
        """What `to_row` made, also where the row holds the criterion too."""
        spans = None if row["spans"] is None else tuple((start, end) for start, end in row["spans"])
        met, reason, flags = row["met"], row["reason"], tuple(row["flags"])
        return cls(met, reason, spans, flags, row["scope"], row.get("value"), row.get("confidence", 1.0))

    @classmethod
    def unscorable(cls, reason: str) -> Verdict:
        """No verdict could be reached."""
        return cls(None, reason)
