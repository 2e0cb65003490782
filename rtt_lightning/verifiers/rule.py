"""What a rule checker is: a function of an answer, with a scope; and verdicts on what readers may count differently."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any

from rtt_lightning.types import Scope, Span, Verdict
from rtt_lightning.verifiers.text import is_blank, plain

Checker = Callable[..., Verdict]
Spans = tuple[Span, ...]


class Rule:
    """A built-in checker. It gets the answer as `plain` text, so that line ends and kinds of spaces decide nothing, and
    its verdict gets its scope. A blank answer meets no criterion: emptiness must not earn reward.

    Args:
        check: From an answer and arguments to a verdict.
        scope: Whether the whole answer decides, or some of its characters, by the taxonomy of the paper.
        as_it_is: Give it the answer unchanged, for formats in which spaces have a meaning of their own.
    """

    def __init__(self, check: Checker, scope: Scope, as_it_is: bool = False) -> None:
        self.name, self.scope = check.__name__, scope
        self._check, self._as_it_is = check, as_it_is
        update_wrapper(self, check)

    def __call__(self, answer: str, *args: Any, **kwargs: Any) -> Verdict:
        verdict = self._check(answer if self._as_it_is else plain(answer), *args, **kwargs)
        if is_blank(answer):
            verdict = Verdict(False, "empty answer", ())
        return verdict if verdict.met is None else replace(verdict, scope=self.scope)


def rule(scope: Scope, as_it_is: bool = False) -> Callable[[Checker], Rule]:
    """Makes a function a `Rule`."""
    return lambda check: Rule(check, scope, as_it_is)


def by_id(*rules: Rule) -> dict[str, Checker]:
    """Rules by their ids, ``rtt:<name>``."""
    return {f"rtt:{rule.name}": rule for rule in rules}


@dataclass(frozen=True)
class Found:
    """What a criterion counts, in an answer.

    Attributes:
        certain: What every reader counts.
        most: How many the most lenient reader counts, at least ``len(certain)``.
    """

    certain: Spans
    most: int


def counted(found: Found, low: int, high: int | None, what: str) -> Verdict:
    """The verdict on what is to occur from ``low`` to ``high`` times: met or not where all readers agree.

    What occurs decides it where enough of it is there, or too much; else nothing does.
    """
    least, highest = len(found.certain), float("inf") if high is None else high
    count = f"{least}" if least == found.most else f"{least} to {found.most}"
    if low <= least and found.most <= highest:
        return Verdict(True, f"{count} {what}", found.certain)
    if found.most < low or least > highest:
        return Verdict(False, f"{count} {what}", found.certain if least > highest else ())
    return Verdict.unscorable(f"{count} {what}, depending on how they are counted")


def whole(answer: str, met: bool, reason: str) -> Verdict:
    """Every character decides."""
    return Verdict(met, reason, ((0, len(answer)),))


def measured(answer: str, least: int, most: int, low: int, high: int | None, unit: str) -> Verdict:
    """The verdict on a length that readers put between ``least`` and ``most``; it is to be from ``low`` to ``high``."""
    highest = float("inf") if high is None else high
    count = f"{least}" if least == most else f"{least} to {most}"
    met = low <= least and most <= highest
    if met or most < low or highest < least:
        return whole(answer, met, f"{count} {unit}")
    return Verdict.unscorable(f"{count} {unit}, depending on how they are counted")
