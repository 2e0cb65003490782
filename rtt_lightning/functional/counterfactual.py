"""What decides a verdict, and is not merely mentioned: the verdicts on an answer without some of its spans.

Everything is counted by *kept* spans: `Kept` holds the indices of those that stay in the answer, and "it holds" means
that the answer with these alone has the verdict of the whole answer.

*Praise and blame* are asked for in opposite ways, as forgetting one of two violations mends nothing:

- A verdict as desired ("use the word tea": met) is owed to a span that is *necessary*: without it, the verdict flips.
  Used once: 1. Used twice: 0 and 0, either will do. "At least twice" and used twice: 1 and 1; three times: 0, 0, 0.
- One that is not ("do not use the word tea": not met) is due to a span that is *sufficient*: all others removed, the
  verdict stays. Used twice: 1 and 1, each has to go. If none suffices ("at most twice", used five times), all count.

Leave-one-out knows no shares: of two words that will both do, neither counts. *Shapley values* (the mean effect of a
span over all orders in which spans may be put back) give each its share, for praise and blame alike; divided by the
greatest they are 1 for spans that can stand in for each other, as plain spans are. They differ from these only between
spans of different importance: asked for tea and milk, "tea, tea and milk" gives 1/6, 1/6 and 4/6, so 0.25, 0.25 and 1.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

from rtt_lightning.types import Span

Kept = frozenset[int]
CLOSING = ".,;:!?…)]"
"""Marks without a space before them."""


def without(answer: str, spans: Sequence[Span]) -> str:
    """The answer without some characters, as if they had never been written.

    Words on both sides do not join. Of the white space on both sides the one with more line ends stays, and none at the
    beginning, at the end, or before a closing mark: "a red, old map" without "red" is "a, old map".

    Args:
        answer: Any text.
        spans: Of its characters; they may overlap.
    """
    for start, end in reversed(_merged(spans)):
        answer = _joined(answer[:start], answer[end:])
    return answer


def one_by_one(number: int, desired: bool) -> list[Kept]:
    """What to keep to ask about each of a number of spans: all others to praise it, it alone to blame it."""
    return [frozenset(range(number)) - {i} if desired else frozenset({i}) for i in range(number)]


def leave_one_out(holds: Sequence[bool | None], desired: bool) -> list[float]:
    """How much each span counts, 0 or 1.

    Args:
        holds: For each span, whether the verdict holds for what `one_by_one` keeps. ``None`` is unknown: that does not
            show the span to be redundant, and so it counts.
        desired: Whether the verdict is as desired.
    """
    counts = [float(held is None or held != desired) for held in holds]
    return counts if desired or any(counts) else [1.0] * len(counts)


def subsets(number: int) -> list[Kept]:
    """All that can be kept of a number of spans."""
    return [frozenset(some) for size in range(number + 1) for some in combinations(range(number), size)]


def shapley(holds: Mapping[Kept, bool], number: int) -> list[float]:
    """The Shapley value of each span, in [-1, 1]; they add up to whether it holds with all - whether it does with none.

    Args:
        holds: For all `subsets`, whether the verdict holds.
        number: Of spans.
    """
    return [
        sum(
            (holds[some | {i}] - holds[some]) / (number * comb(number - 1, len(some)))
            for some in subsets(number)
            if i not in some
        )
        for i in range(number)
    ]


def by_the_greatest(values: Sequence[float]) -> list[float]:
    """Values in [0, 1], of which the greatest is 1; 0 for all if none is positive."""
    greatest = max(values, default=0.0)
    return [max(value, 0.0) / greatest if greatest > 0 else 0.0 for value in values]


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans with at least one character, in order, without overlaps."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _joined(before: str, after: str) -> str:
    left, right = before.rstrip(), after.lstrip()
    if not left or not right:
        return left + right
    sides = before[len(left) :], after[: len(after) - len(right)]
    space = max(sides, key=lambda side: (side.count("\n"), len(side)))
    if not space and left[-1].isalnum() and right[0].isalnum():
        space = " "
    is_closed = "\n" not in space and right[0] in CLOSING
    return left + ("" if is_closed else space) + right
