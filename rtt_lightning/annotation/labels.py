"""Labels: which characters of a response decide a criterion, and who said so."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from rtt_lightning.types import JudgedRollout, Polarity, Scope, Span, Verdict

ANNOTATOR = "annotator"
"""What `Verdict.spans_by` says of a language model's labels."""
RULE = "rule"
"""Who gave spans, if the verdict names nobody: its checker."""


class Decided(NamedTuple):
    """A criterion's text, and whether the response meets it."""

    text: str
    met: bool

    @property
    def shown(self) -> str:
        """As an annotator sees it; the verdict first, as the text may say anything."""
        return f"[{'met' if self.met else 'not met'}] {self.text}"


@dataclass(frozen=True)
class Label:
    """Which characters of an answer decide a criterion."""

    scope: Scope
    polarity: Polarity
    spans: tuple[Span, ...]

    def on(self, verdict: Verdict) -> Verdict:
        """A verdict with this label."""
        return replace(verdict, spans=self.spans, scope=self.scope, polarity=self.polarity, spans_by=ANNOTATOR)


@dataclass(frozen=True)
class SetAside:
    """Why a criterion has no label.

    Attributes:
        kind: To be counted.
        detail: Of this one.
        unanswered: Whether the server did not answer, so that asking again may help.
    """

    kind: str
    detail: str = ""
    unanswered: bool = False


def unknown(item: JudgedRollout) -> list[int]:
    """The decided criteria, by index, of which nobody has said which characters decide; none of a blank answer."""
    length = len(item.rollout.answer)
    return [
        place
        for place, verdict in enumerate(item.verdicts)
        if verdict.met is not None and verdict.relevant(length) is None and item.rollout.answer.strip()
    ]


def labelled_by(verdict: Verdict) -> str:
    """Who said which characters decide."""
    return verdict.spans_by or RULE
