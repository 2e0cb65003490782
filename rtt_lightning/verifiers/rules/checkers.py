"""The known checkers: from an id to a verdict, whatever the checker does.

Problems are found before a run: is the checker known, do its arguments fit, does this machine have what it reads?
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from rtt_lightning.types import Criterion, Verdict
from rtt_lightning.verifiers.base import CODE, JUDGE, Checker, unscorable
from rtt_lightning.verifiers.ifeval import Official, ifeval_checkers, instruction_classes
from rtt_lightning.verifiers.ifeval.checkers import without_nulls
from rtt_lightning.verifiers.ifeval.needs import lacking
from rtt_lightning.verifiers.rules.arguments import misfit, misnamed
from rtt_lightning.verifiers.rules.known import RULES

UNDECIDABLE = {
    JUDGE: "no rule decides this criterion; it needs a judge",
    CODE: "code that comes with data is not run outside a sandbox",
}
"""Ids that no rule decides, and why."""
TRIALS = (
    "An answer that is tried on each checker.\n\nIt has two paragraphs.",
    '# Tea\n\n"THE tea, 3 cups!" Why?\n\n- one\n- two\n\n1. three\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nP.S. <<Tea>>',
    '{"a": 1}',
)
"""Answers with which most checkers use all of their arguments."""


class Checkers:
    """The known checkers, by id.

    Args:
        own: A user's own checkers, ``(answer, **kwargs) -> Verdict``; they win over built-in ones.
        official: Verdicts of IFEval and IFBench as their evaluators give them, see `ifeval_checkers`.
    """

    def __init__(self, own: Mapping[str, Checker], official: Official = False) -> None:
        self._own, self._official = frozenset(own), official
        self._checkers: dict[str, Checker] = {**RULES, **own}
        self._tried: dict[tuple[str, str], str] = {}
        self._lacking = cache(lacking)

    def find(self, checker: str) -> Checker | None:
        return self._checkers.get(checker) or ifeval_checkers(self._official).get(checker)

    def decide(self, criterion: Criterion, answer: str) -> Verdict:
        """A verdict; unscorable if the checker is unknown, raises, or returns anything else."""
        checker = self.find(criterion.checker)
        if checker is None:
            return Verdict.unscorable(self._unknown(criterion.checker))
        try:
            verdict = checker(answer, **criterion.kwargs)
        except Exception as error:  # checkers may be users' code: an error must not become a reward
            return unscorable(f"{criterion.checker}: {type(error).__name__}: {error}")
        if not isinstance(verdict, Verdict):
            return unscorable(f"{criterion.checker} returned {type(verdict).__name__}, not a Verdict")
        if not isinstance(verdict.met, bool | None):
            return unscorable(f"{criterion.checker} gave met={verdict.met!r}, not True, False or None")
        return verdict

    def decide_loosely(self, criterion: Criterion, answer: str) -> Verdict:
        """Met if any variant of the answer meets it; else unscorable if any variant is unscorable."""
        strict = self.decide(criterion, answer)
        if strict.met:
            return strict
        others = [self.decide(criterion, variant) for variant in dict.fromkeys(variants(answer)) if variant != answer]
        undecided = [verdict for verdict in (strict, *others) if verdict.met is None]
        found = next((verdict for verdict in others if verdict.met), undecided[0] if undecided else strict)
        return replace(found, spans=None)  # they would be a variant's

    def problem(self, criterion: Criterion) -> str:
        """What is wrong with a criterion's checker or arguments, in words; empty if nothing is.

        Equal criteria are tried once. A user's own checker is not called, as it may have side effects or fail on our
        answers for a good reason: only the names of its arguments are checked.
        """
        key = criterion.checker, json.dumps(criterion.kwargs, sort_keys=True, default=repr)
        if key not in self._tried:
            self._tried[key] = self._try(criterion)
        return self._tried[key]

    def lacking(self, criterion: Criterion) -> str:
        """What a benchmark's checker needs and this machine lacks, in words; empty if nothing."""
        official = criterion.checker not in self._checkers and self.find(criterion.checker)
        return self._lacking(criterion.checker) if official else ""

    def _try(self, criterion: Criterion) -> str:
        checker = self.find(criterion.checker)
        if checker is None:
            return self._unknown(criterion.checker)
        if wrong := self._misfit(checker, criterion):
            return f"wrong arguments: {criterion.checker} {wrong}"
        for answer in () if criterion.checker in self._own else TRIALS:
            verdict = self.decide(criterion, answer)
            if verdict.met is None and verdict.reason.startswith(f"{criterion.checker}: "):
                return f"wrong arguments: {verdict.reason}"
        return ""

    def _misfit(self, checker: Checker, criterion: Criterion) -> str:
        """What is wrong with the names of arguments, and for built-in rules with their values."""
        name, kwargs = criterion.checker, criterion.kwargs
        if name not in self._checkers:
            checker, kwargs = instruction_classes()[name].build_description, without_nulls(kwargs)
        return misnamed(checker, kwargs) or (misfit(checker, kwargs) if checker is RULES.get(name) else "")

    def _unknown(self, checker: str) -> str:
        """A message that a checker is unknown, and which one may be meant."""
        if checker in UNDECIDABLE:
            return UNDECIDABLE[checker]
        known = [*UNDECIDABLE, *self._checkers, *ifeval_checkers()]
        close = difflib.get_close_matches(checker, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are for example {known[:3]}"
        return f"unknown checker {checker!r}{hint}"


def variants(answer: str) -> list[str]:
    """The answer, and without its first line, its last one or both; each also without asterisks.

    IFEval's loose evaluation. The official evaluators try the eight in another order, up to the first that is met.
    """
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    plain = [answer, *cut]
    return [*plain, *(variant.replace("*", "") for variant in plain)]
