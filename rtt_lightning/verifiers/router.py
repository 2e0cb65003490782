"""Sends each criterion to the verifier that decides it: rules, a judge, or code from the data."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.base import CODE, JUDGE, Memory, Verifier
from rtt_lightning.verifiers.forecast import Expected, Forecast
from rtt_lightning.verifiers.rules import RuleVerifier


class Router(Verifier):
    """Rules, a judge and a sandbox, each for its criteria, concurrently.

    Args:
        rules: Decides criteria with other checkers, and all those without a verifier here.
        judge: Decides criteria whose checker is ``judge``.
        code: Decides criteria whose checker is ``code``.
    """

    def __init__(
        self,
        rules: Verifier = lazy_instance(RuleVerifier),
        judge: Verifier | None = None,
        code: Verifier | None = None,
    ) -> None:
        self._rules = rules
        self._special = {name: verifier for name, verifier in ((JUDGE, judge), (CODE, code)) if verifier is not None}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for verifier in self._all():
                await stack.enter_async_context(verifier.session())
            yield

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return await self._divided(sample, lambda verifier, part, places: verifier.verify(part, answer))

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        def loosely(verifier: Verifier, part: RubricSample, places: Sequence[int]) -> Awaitable[list[Verdict]]:
            return verifier.verify_loosely(part, answer, [strict[place] for place in places])

        return await self._divided(sample, loosely)

    def problems(self, sample: RubricSample) -> list[str]:
        return [
            problem
            for verifier, places in self._shares(sample.criteria)
            for problem in verifier.problems(_part(sample, places))
        ]

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        shares: dict[Verifier, list[RubricSample]] = {}
        for sample in samples:
            for verifier, places in self._shares(sample.criteria):
                shares.setdefault(verifier, []).append(_part(sample, places))
        return [doubt for verifier, parts in shares.items() for doubt in verifier.try_out(parts)]

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        shares: dict[Verifier, list[Expected]] = {}
        for each in expected:
            for verifier, places in self._shares(each.sample.criteria):
                shares.setdefault(verifier, []).append(each._replace(sample=_part(each.sample, places)))
        return [forecast for verifier, parts in shares.items() for forecast in verifier.foresee(parts)]

    def gives_spans(self, criterion: Criterion) -> bool:
        return self._special.get(criterion.checker, self._rules).gives_spans(criterion)

    def metrics(self) -> dict[str, float]:
        return {k: v for verifier in self._all() for k, v in verifier.metrics().items()}

    def memories(self) -> list[Memory]:
        return [memory for verifier in self._all() for memory in verifier.memories()]

    def _all(self) -> list[Verifier]:
        return [self._rules, *self._special.values()]

    async def _divided(
        self,
        sample: RubricSample,
        ask: Callable[[Verifier, RubricSample, Sequence[int]], Awaitable[list[Verdict]]],
    ) -> list[Verdict]:
        shares = self._shares(sample.criteria)
        parts = await asyncio.gather(*(ask(verifier, _part(sample, places), places) for verifier, places in shares))
        by_place = {
            place: verdict
            for (_, places), verdicts in zip(shares, parts, strict=True)
            for place, verdict in zip(places, verdicts, strict=True)
        }
        return [by_place[place] for place in range(len(sample.criteria))]

    def _shares(self, criteria: Sequence[Criterion]) -> list[tuple[Verifier, list[int]]]:
        """Which criteria each verifier decides, by their indices in the rubric."""
        shares: dict[Verifier, list[int]] = {}
        for place, criterion in enumerate(criteria):
            shares.setdefault(self._special.get(criterion.checker, self._rules), []).append(place)
        return list(shares.items())


def _part(sample: RubricSample, places: Sequence[int]) -> RubricSample:
    return replace(sample, criteria=tuple(sample.criteria[place] for place in places))
