"""What the views of an explanation share: the tokens of a response as people see them, and what is said of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rtt_lightning.reports.markup import merge_tokens
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, Verdict

ABSENT = 0.25
"""If no token reaches this relevance, none decides the criterion."""
TEXTLESS = "∎"
"""In the place of a token without text, such as end of sequence."""
_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}
_HIDDEN = [*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)]
_VISIBLE = str.maketrans(
    _CONTROLS | dict.fromkeys(_HIDDEN, "\ufffd") | {"\x7f": "␡", "\r": " ", "\u2028": "\n", "\u2029": "\n"}
)


@dataclass(frozen=True)
class Piece:
    """Characters that tokens share with no other token: mostly those of one.

    Attributes:
        start: Its first character.
        end: The character after its last.
        tokens: Their numbers in the response.
        inside: Whether it is in the token group: a part of the answer.
    """

    start: int
    end: int
    tokens: tuple[int, ...]
    inside: bool

    def mean(self, values: Sequence[float]) -> float:
        """Of its tokens."""
        return sum(values[number] for number in self.tokens) / len(self.tokens)


def pieces(rollout: Rollout) -> list[Piece]:
    """The tokens of a response in order; those of one multi-byte character together."""
    answer = rollout.answer_tokens
    return [
        Piece(start, end, tuple(numbers), any(answer[number] for number in numbers))
        for (start, end), numbers in merge_tokens(rollout.offsets)
    ]


def inside(item: JudgedRollout, number: int) -> list[float]:
    """The relevance of the tokens of the answer to a criterion, as far as it is finite."""
    every = zip((item.relevance or ())[number], item.rollout.answer_tokens, strict=True)
    return [value for value, answer in every if answer and math.isfinite(value)]


def visible(text: str) -> str:
    """The text with characters that would act on a terminal or hide others made visible, one for one: control
    characters, marks that change the direction of what follows, and halves of characters.
    """
    return text.translate(_VISIBLE)


def said(criterion: Criterion, verdict: Verdict) -> str:
    """The verdict in words, with its reason."""
    words = {True: "as desired", False: "not as desired", None: "undecided"}[verdict.as_desired(criterion)]
    if criterion.weight < 0 and verdict.met is not None:
        words = f"{words}, since it is unwanted and {'met' if verdict.met else 'not met'}"
    more = [f"value {verdict.value:g}"] if verdict.value is not None else []
    more += [f"confidence {verdict.confidence:g}"] if verdict.confidence != 1 else []
    more += [f"spans by {verdict.spans_by}"] if verdict.spans_by else []
    return visible(": ".join(filter(None, (words, "; ".join(filter(None, (verdict.reason, *more, *verdict.flags)))))))


def threshold(values: Sequence[float]) -> float | None:
    """The relevance from which a token is said to decide a criterion: half of the highest one, so that a discriminator
    need not be sure. ``None`` if no token stands out: all reach it, or none reaches `ABSENT`.

    Args:
        values: As of `inside`.
    """
    highest = max(values, default=0.0)
    return highest / 2 if highest >= ABSENT and min(values) < highest / 2 else None


def decides(values: Sequence[float], verdict: Verdict) -> str:
    """How many tokens decide a criterion, in a sentence.

    Args:
        values: As of `inside`.
        verdict: On the criterion.
    """
    least, highest = (f"{bound(values, default=0.0):.3f}" for bound in (min, max))
    if verdict.met is None:
        return "Undecided: no token earns credit by it."
    if not values:
        return "The answer has no tokens."
    if (bound := threshold(values)) is not None:
        count = sum(value >= bound for value in values)
        return f"{count} of {len(values)} tokens decide it, with a relevance of {bound:.3f} or more."
    if max(values) < ABSENT:
        return f"No token decides it: the highest relevance is {highest}."
    if least == highest:
        return f"All tokens count alike, with a relevance of {least}."
    return f"All tokens count, with a relevance of {least} to {highest}."
