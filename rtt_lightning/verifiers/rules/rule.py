"""The parts of a rule: its checker, sentences that ask for it, how it is read from a sentence; and verdicts on what
readers may count differently.
"""

import random
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, Literal

from rtt_lightning.types import Polarity, Scope, Span, Verdict
from rtt_lightning.verifiers.base import Checker
from rtt_lightning.verifiers.rules.text import is_blank, plain

Spans = tuple[Span, ...]
Arguments = dict[str, Any]
Read = Callable[[str], Arguments | None]
"""From a bare sentence to the arguments of the checker that it asks for; ``None`` if not certain."""
Draw = Callable[[random.Random, str], Arguments]
"""Draws a checker's arguments, given the topic of a prompt."""
Group = Literal["length", "word", "case", "start", "end", "layout", "finish", "topic"]


@dataclass(frozen=True)
class Phrasing:
    """How the built-in prompt sampler asks for a rule.

    Attributes:
        sentences: Fields in them stand for the checker's arguments.
        draw: Draws those arguments.
        conflicts: Groups of rules; a prompt has at most one rule of each.
    """

    sentences: tuple[str, ...]
    draw: Draw = lambda rng, topic: {}
    conflicts: AbstractSet[Group] = frozenset()


def number(low: int, high: int) -> Draw:
    """Draws ``n``, both bounds included."""
    return lambda rng, topic: {"n": rng.randint(low, high)}


def choice(name: str, words: Sequence[str]) -> Draw:
    """Draws a word that is not the topic."""
    return lambda rng, topic: {name: rng.choice([word for word in words if word != topic])}


class Rule:
    """A built-in checker with the id ``rtt:<name of its function>``. The function gets the answer as `plain` text, so
    that line ends and kinds of spaces do not matter, and the verdict gets the rule's scope. A blank answer meets no
    criterion: it must not earn reward.

    Args:
        checker: From an answer and arguments to a verdict.
        scope: Whether the whole answer decides, or some of its characters, by the paper's taxonomy.
        phrasing: How the built-in sampler asks for it, if at all.
        read: How it is read from a sentence, if at all.
        as_it_is: Do not change the answer, for formats in which spaces have a meaning.
        polarity: Whether it asks for something or forbids it.
    """

    def __init__(
        self,
        checker: Checker,
        scope: Scope,
        phrasing: Phrasing | None,
        read: Read | None,
        as_it_is: bool,
        polarity: Polarity,
    ) -> None:
        self.checker, self.phrasing, self.read, self.id = checker, phrasing, read, f"rtt:{checker.__name__}"
        self.scope: Scope = scope
        self.polarity: Polarity = polarity
        self._as_it_is = as_it_is
        update_wrapper(self, checker)

    def __call__(self, answer: str, *args: Any, **kwargs: Any) -> Verdict:
        verdict = self.checker(answer if self._as_it_is else plain(answer), *args, **kwargs)
        if is_blank(answer):
            verdict = Verdict(False, "empty answer", ())
        return verdict if verdict.met is None else replace(verdict, scope=self.scope, polarity=self.polarity)


def rule(
    scope: Scope,
    phrasing: Phrasing | None = None,
    read: Read | None = None,
    as_it_is: bool = False,
    polarity: Polarity = "positive",
) -> Callable[[Checker], Rule]:
    """Make a function a `Rule`. A rule that is a special case of another one calls that rule's ``checker``."""
    return lambda checker: Rule(checker, scope, phrasing, read, as_it_is, polarity)


@dataclass(frozen=True)
class Occurrences:
    """What a criterion counts in an answer.

    Attributes:
        certain: Spans that every reader counts.
        most: Number that the most lenient reader counts, at least ``len(certain)``.
    """

    certain: Spans
    most: int


def decide_count(found: Occurrences, low: int, high: int | None, what: str) -> Verdict:
    """The verdict on what must occur from ``low`` to ``high`` times: met or not if all readers agree.

    The occurrences decide it if there are enough or too many; else none does.
    """
    verdict = _decide_range(len(found.certain), found.most, low, high, what)
    if verdict.met is None:
        return verdict
    return replace(verdict, spans=found.certain if verdict.met or found.most >= low else ())


def decide_length(answer: str, least: int, most: int, low: int, high: int | None, unit: str) -> Verdict:
    """The verdict on a length, between ``least`` and ``most`` for readers, that must be from ``low`` to ``high``."""
    verdict = _decide_range(least, most, low, high, unit)
    return verdict if verdict.met is None else decide_whole(answer, verdict.met, verdict.reason)


def _decide_range(least: int, most: int, low: int, high: int | None, what: str) -> Verdict:
    """Whether a number, between ``least`` and ``most`` for readers, is from ``low`` to ``high``."""
    highest = float("inf") if high is None else high
    count = f"{least} {what}" if least == most else f"{least} to {most} {what}"
    met = low <= least and most <= highest
    if met or most < low or highest < least:
        return Verdict(met, count)
    return Verdict.unscorable(f"{count}, depending on how they are counted")


def decide_whole(answer: str, met: bool, reason: str) -> Verdict:
    """A verdict that every character decides."""
    return Verdict(met, reason, ((0, len(answer)),))


def decide_absent(doubtful: bool, reason: str) -> Verdict:
    """Not met if not even a lenient reader finds what is asked for; else unscorable."""
    return Verdict.unscorable(f"{reason} for some readers") if doubtful else Verdict(False, reason, ())
