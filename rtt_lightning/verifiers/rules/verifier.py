"""Verdicts by rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

from rtt_lightning.types import Criterion, RubricSample, Scope, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Checker, Verifier
from rtt_lightning.verifiers.ifeval import Official
from rtt_lightning.verifiers.rules.checkers import UNDECIDABLE, Checkers
from rtt_lightning.verifiers.rules.workers import Workers


class RuleVerifier(Verifier):
    """Decides criteria by the built-in checkers and those of IFEval and IFBench, in separate processes.

    Args:
        checkers: Your own checkers by id, ``(answer, **kwargs) -> Verdict``; they win over built-in ones.
        workers: Processes that check; with 0 this process checks, and nothing ends a check that hangs.
        deadline: Seconds that one check may take; then it is killed, and its criterion is unscorable.
        official: For benchmarks, verdicts of the official evaluators: "main" or "pr34" (an open pull request of
            IFBench, see `rtt_lightning.verifiers.ifeval.official`); true means "main". They count an answer as met if
            no language can be detected in it; in training, where this is false, that would reward answers without
            words.
        scopes: Scopes other than the paper's, by checker id: its taxonomy makes counts global, so that the whole answer
            is relevant to "use the word 'tea' twice"; ``{"rtt:word_count": "local"}`` makes it the words counted.
        undecidable: What to do with criteria that need a judge or run code from the data: refuse the data (an error),
            or leave them unscorable.
    """

    def __init__(
        self,
        checkers: Mapping[str, Checker] | None = None,
        workers: int = 1,
        deadline: float = 5.0,
        official: Official = False,
        scopes: Mapping[str, Scope] | None = None,
        undecidable: Literal["refuse", "unscorable"] = "refuse",
    ) -> None:
        if workers < 0 or deadline <= 0:
            raise UserError(f"workers must be >= 0 and deadline > 0 seconds, got {workers} and {deadline}")
        if official not in (False, True, "main", "pr34"):
            raise UserError(f"official must be false, true, 'main' or 'pr34', got {official!r}")
        self._own, self._number, self._deadline = dict(checkers or {}), workers, deadline
        self._official: Official = official
        self._undecidable, self._scopes = undecidable, dict(scopes or {})
        self._checkers = Checkers(self._own, official)

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return await self._decide(sample.criteria, answer, loosely=False)

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        left = [criterion for criterion, verdict in zip(sample.criteria, strict, strict=True) if not verdict.met]
        found = iter(await self._decide(left, answer, loosely=True))
        return [verdict if verdict.met else next(found) for verdict in strict]

    async def _decide(self, criteria: Sequence[Criterion], answer: str, loosely: bool) -> list[Verdict]:
        if self._number:
            verdicts = await asyncio.wrap_future(self._workers.decide(criteria, answer, loosely))
        else:
            decide = self._checkers.decide_loosely if loosely else self._checkers.decide
            verdicts = [decide(criterion, answer) for criterion in criteria]
        pairs = zip(criteria, verdicts, strict=True)
        return [replace(verdict, scope=self._scopes.get(c.checker, verdict.scope)) for c, verdict in pairs]

    def problems(self, sample: RubricSample) -> list[str]:
        """Criteria whose checker is unknown, does not take their arguments or lacks what it reads, in words."""
        fine = UNDECIDABLE if self._undecidable == "unscorable" else ()
        tried = [criterion for criterion in sample.criteria if criterion.checker not in fine]
        found = [self._checkers.problem(criterion) or self._checkers.lacking(criterion) for criterion in tried]
        return [problem for problem in found if problem]

    def gives_spans(self, criterion: Criterion) -> bool:
        return criterion.checker not in UNDECIDABLE

    @cached_property
    def _workers(self) -> Workers:
        return Workers(self._own, self._official, self._number, self._deadline)
