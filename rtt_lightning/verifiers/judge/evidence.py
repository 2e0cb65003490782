"""What decides a criterion, as a language model quotes it: checked against the response, never taken on trust."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rtt_lightning.types import Polarity, Scope, Span

EVIDENCE: dict[str, Any] = {
    "scope": {"type": "string", "enum": ["global", "local"]},
    "polarity": {"type": "string", "enum": ["positive", "negative"]},
    "segments": {"type": "array", "items": {"type": "string"}},
}
"""Fields of a reply, as a JSON schema."""
SHOWN = 120
"""Characters of a segment in a message."""


@dataclass(frozen=True)
class Evidence:
    """What a model says of a criterion and a response.

    Attributes:
        scope: Of the criterion.
        polarity: Of the criterion.
        segments: Pieces of the response that decide, as the model quotes them.
    """

    scope: Scope
    polarity: Polarity
    segments: tuple[str, ...]

    def to_row(self) -> dict[str, Any]:
        """Plain data that `from_row` reads again."""
        return {"scope": self.scope, "polarity": self.polarity, "segments": list(self.segments)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Evidence | None":
        """What `to_row` made, or an entry of a reply; ``None`` if it lacks a field or has something else there."""
        scope, polarity = (str(row.get(name)).strip().casefold() for name in ("scope", "polarity"))
        segments = row.get("segments")
        if scope not in EVIDENCE["scope"]["enum"] or polarity not in EVIDENCE["polarity"]["enum"]:
            return None
        if not isinstance(segments, list) or not all(isinstance(segment, str) for segment in segments):
            return None
        readable = tuple(segment.encode("utf-8", "replace").decode() for segment in segments)  # no lone surrogates
        return cls(cast(Scope, scope), cast(Polarity, polarity), readable)

    def spans(self, met: bool, answer: str) -> "tuple[Span, ...] | Misquoted":
        """The characters of an answer that are relevant to the criterion.

        | criterion | verdict | characters |
        |---|---|---|
        | global | any | all |
        | local, positive (asks for something) | met | those of the segments |
        | local, positive | not met | none |
        | local, negative (forbids something) | not met | those of the segments |
        | local, negative | met | none |

        Args:
            met: The verdict.
            answer: In which the segments must stand.
        """
        if self.scope == "global":
            return ((0, len(answer)),)
        if met != (self.polarity == "positive"):
            return ()
        if not any(segment.strip() for segment in self.segments):
            return Misquoted("no segment is quoted, although some words of the response must decide")
        found = {segment: locate(segment, answer) for segment in self.segments if segment.strip()}
        absent = [segment[:SHOWN] for segment, spans in found.items() if not spans]
        if absent:
            quoted = json.dumps(absent, ensure_ascii=False)
            return Misquoted(f"not in the response, word for word: {quoted}")
        return merged(span for spans in found.values() for span in spans)


class Misquoted(str):
    """What is wrong with segments."""


def locate(segment: str, answer: str) -> list[Span]:
    """Where a quoted text stands in an answer: everywhere, in order, also overlapping; empty if nowhere.

    A short quotation means each of its occurrences, as rules count them; a long one occurs once anyway. But "he" is not
    meant in "the": places within longer words count only if there are no others. (Only for letters that have a case,
    and digits: other scripts may write words without spaces.) Any white space stands for any other, since models write
    line ends as spaces; nothing else is forgiven.
    """
    words = segment.split()
    if not words:
        return []
    pattern = r"\s+".join(map(re.escape, words))
    before, after = (r"(?<!\w)" if _in_words(words[0][0]) else "", r"(?!\w)" if _in_words(words[-1][-1]) else "")
    for each in dict.fromkeys((before + pattern + after, pattern)):
        found = [match.span(1) for match in re.finditer(f"(?=({each}))", answer)]
        if found:
            return found
    return []


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, those that overlap as one. Example: (4, 6), (0, 3), (2, 4) -> (0, 4), (4, 6)."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def characters(spans: Sequence[Span]) -> int:
    """How many characters are in spans that do not overlap."""
    return sum(end - start for start, end in spans)


def _in_words(character: str) -> bool:
    return character.isdigit() or character.lower() != character.upper()
