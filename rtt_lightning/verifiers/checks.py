"""One rule check: from a checker's id to a verdict, whatever the checker does."""

import difflib
from collections.abc import Mapping
from dataclasses import replace

from rtt_lightning.types import Criterion, Verdict
from rtt_lightning.verifiers.constraints import CHECKERS
from rtt_lightning.verifiers.counts import COUNTS
from rtt_lightning.verifiers.documents import DOCUMENTS
from rtt_lightning.verifiers.ifeval import Official, ifeval_checkers
from rtt_lightning.verifiers.loose import variants
from rtt_lightning.verifiers.rule import Checker
from rtt_lightning.verifiers.structure import STRUCTURE
from rtt_lightning.verifiers.wording import WORDING

OURS: dict[str, Checker] = {**CHECKERS, **COUNTS, **WORDING, **STRUCTURE, **DOCUMENTS}
JUDGE = "judge"
"""The checker id of criteria that no rule decides."""
CODE = "code"
"""The checker id of criteria that code from the data decides, as ``source`` among their arguments."""
UNDECIDABLE = {
    JUDGE: "no rule decides this criterion; it needs a judge",
    CODE: "code that comes with data is not run outside a sandbox",
}
"""Why no rule decides the criteria of some ids."""


class Checks:
    """The checkers that are known, by id.

    Args:
        own: Checkers of a user, ``(answer, **kwargs) -> Verdict``; they win over built-in ones.
        official: Verdicts of IFEval and IFBench as their evaluators give them, see `ifeval_checkers`.
    """

    def __init__(self, own: Mapping[str, Checker], official: Official = False) -> None:
        self.own, self._official = frozenset(own), official
        self._checkers: dict[str, Checker] = {**OURS, **own}

    def find(self, checker: str) -> Checker | None:
        return self._checkers.get(checker) or ifeval_checkers(self._official).get(checker)

    def of_benchmark(self, checker: str) -> bool:
        """Whether it is one of IFEval's and IFBench's, not replaced by another."""
        return checker not in self._checkers and checker in ifeval_checkers(self._official)

    def check(self, criterion: Criterion, answer: str) -> Verdict:
        """A verdict, unscorable where the checker is unknown, raises, or returns anything else."""
        checker = self.find(criterion.checker)
        if checker is None:
            return Verdict.unscorable(self.unknown(criterion.checker))
        try:
            verdict = checker(answer, **criterion.kwargs)
        except Exception as error:  # checkers are other people's code: whatever one raises must not become a reward
            return unscorable(f"{criterion.checker}: {type(error).__name__}: {error}")
        if not isinstance(verdict, Verdict):
            return unscorable(f"{criterion.checker} returned {type(verdict).__name__}, not a Verdict")
        if not isinstance(verdict.met, bool | None):
            return unscorable(f"{criterion.checker} gave met={verdict.met!r}, not True, False or None")
        return verdict

    def check_loosely(self, criterion: Criterion, answer: str) -> Verdict:
        """Met if met by any variant of the answer; else, unscorable if unscorable for any."""
        strict = self.check(criterion, answer)
        if strict.met:
            return strict
        others = [self.check(criterion, variant) for variant in dict.fromkeys(variants(answer)) if variant != answer]
        undecided = [verdict for verdict in (strict, *others) if verdict.met is None]
        found = next((verdict for verdict in others if verdict.met), undecided[0] if undecided else strict)
        return replace(found, spans=None)  # they would be those of a variant

    def unknown(self, checker: str) -> str:
        """That a checker is unknown, and which one may be meant."""
        if checker in UNDECIDABLE:
            return UNDECIDABLE[checker]
        known = [*self._checkers, *ifeval_checkers()]
        close = difflib.get_close_matches(checker, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are for example {known[:3]}"
        return f"unknown checker {checker!r}{hint}"


def unscorable(reason: str) -> Verdict:
    """With the reason as one short line that any file can hold: it may quote lone surrogates of an answer."""
    line = " ".join(reason.split())[:200]
    return Verdict.unscorable(line.encode("utf-8", "backslashreplace").decode())
