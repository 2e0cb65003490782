"""The nouns of rubric-based RL, documented once.

Axes, always in this order: ``batch`` (prompts x responses per prompt), ``rubric`` (criteria, padded to the
longest rubric), ``token`` (response tokens, padded to the longest response).

`Experience` and `Credited` hold tensors; they are imported on first use, so that processes that check rules start
without torch.
"""

from typing import TYPE_CHECKING, Any

from rtt_lightning.types.conversations import Message
from rtt_lightning.types.response import JudgedRollout, Rollout
from rtt_lightning.types.rubric import (
    MISQUOTED,
    SHORTENED,
    STEERING,
    Criterion,
    Marks,
    OutsideFailure,
    Polarity,
    RubricSample,
    Scope,
    Span,
    Verdict,
    as_desired,
)

if TYPE_CHECKING:
    from rtt_lightning.types.experience import Credited, Experience

__all__ = [
    "MISQUOTED",
    "SHORTENED",
    "STEERING",
    "Credited",
    "Criterion",
    "Experience",
    "JudgedRollout",
    "Marks",
    "Message",
    "OutsideFailure",
    "Polarity",
    "Rollout",
    "RubricSample",
    "Scope",
    "Span",
    "Verdict",
    "as_desired",
]


def __getattr__(name: str) -> Any:
    if name not in ("Credited", "Experience"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rtt_lightning.types import experience

    return getattr(experience, name)
