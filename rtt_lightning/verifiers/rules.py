"""Verdicts by rule: a router from checker ids to checkers."""

import difflib
from collections.abc import Mapping

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.constraints import CHECKERS, Checker
from rtt_lightning.verifiers.ifeval import ifeval_checkers


class RuleVerifier(Verifier):
    """Decides criteria by the built-in checkers and those of IFEval and IFBench.

    Args:
        checkers: Checkers of your own by id, ``(answer, **kwargs) -> Verdict``; they win over built-in ones.
    """

    def __init__(self, checkers: Mapping[str, Checker] | None = None) -> None:
        self._checkers: dict[str, Checker] = {**CHECKERS, **(checkers or {})}

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [self._check(criterion, answer) for criterion in sample.criteria]

    def problems(self, sample: RubricSample) -> list[str]:
        """Criteria whose checker is unknown, in words."""
        return [self._unknown(c.checker) for c in sample.criteria if self._find(c.checker) is None]

    def _find(self, checker: str) -> Checker | None:
        return self._checkers.get(checker) or ifeval_checkers().get(checker)

    def _check(self, criterion: Criterion, answer: str) -> Verdict:
        checker = self._find(criterion.checker)
        if checker is None:
            return Verdict.unscorable(self._unknown(criterion.checker))
        try:
            verdict = checker(answer, **criterion.kwargs)
        except Exception as error:  # checkers are other people's code: whatever one raises must not become a reward
            return _unscorable(f"{criterion.checker}: {type(error).__name__}: {error}")
        if not isinstance(verdict, Verdict):
            return _unscorable(f"{criterion.checker} returned {type(verdict).__name__}, not a Verdict")
        if not isinstance(verdict.met, bool | None):
            return _unscorable(f"{criterion.checker} gave met={verdict.met!r}, not True, False or None")
        return verdict

    def _unknown(self, checker: str) -> str:
        known = [*self._checkers, *ifeval_checkers()]
        close = difflib.get_close_matches(checker, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are for example {known[:3]}"
        return f"unknown checker {checker!r}{hint}"


def _unscorable(reason: str) -> Verdict:
    """With the reason as one short line that any file can hold: it may quote lone surrogates of an answer."""
    line = " ".join(reason.split())[:200]
    return Verdict.unscorable(line.encode("utf-8", "backslashreplace").decode())
