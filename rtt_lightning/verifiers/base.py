"""The base of verifiers: verdicts on one answer; a failure never becomes a reward."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.forecast import Expected, Forecast

Checker = Callable[..., Verdict]
"""A rule's function: from an answer and arguments to a verdict."""
JUDGE = "judge"
"""The checker id of criteria that no rule decides."""
CODE = "code"
"""The checker id of criteria that code from the data decides; the code is their argument ``source``."""


class Memory(Protocol):
    """Verdicts kept from earlier runs."""

    remembered: int
    """How many of them were used so far."""

    def forget(self) -> None:
        """Neither use nor keep any from now on."""
        ...


class Verifier(ABC):
    """Decides the criteria of a rubric for one answer. Subclasses implement `verify`."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Surrounds all verdicts of an event loop; opens what cannot outlive it, such as connections."""
        yield

    @abstractmethod
    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        """One verdict per criterion, in rubric order.

        A criterion that cannot be decided (a broken checker, a judge that is down) is `Verdict.unscorable` with its
        reason; it never becomes "not met".
        """

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        """Verdicts that forgive text around the answer, see `rtt_lightning.verifiers.rules.checkers`; by default the
        given strict ones.
        """
        return list(strict)

    def problems(self, sample: RubricSample) -> list[str]:
        """What this verifier cannot decide in a rubric, in words; called when data is loaded."""
        return []

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        """Try what the criteria depend on, such as a server, before anything is sampled; returns doubts, in words.

        Raises:
            OutsideFailure: If it does not work.
        """
        return []

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        """What judging responses will cost, by each judge that is paid for it."""
        return []

    def gives_spans(self, criterion: Criterion) -> bool:
        """Whether verdicts on a criterion can say which characters decided them."""
        return True

    def metrics(self) -> dict[str, float]:
        """Its costs so far, for the log; always the same names."""
        return {}

    def figures(self) -> dict[str, float]:
        """`metrics`, by the name that it had; it goes with the next release."""
        return self.metrics()

    def __init_subclass__(cls) -> None:
        if "figures" in vars(cls):  # a verifier of a user's that overrides the former name
            cls.metrics = cls.figures

    def memories(self) -> "list[Memory]":
        """Its stores of verdicts that outlast a run."""
        return []

    def verify_all(self, pairs: Sequence[tuple[RubricSample, str]]) -> list[list[Verdict]]:
        """Verdicts on many answers, concurrently; for callers that are not async."""

        async def gather() -> list[list[Verdict]]:
            async with self.session():
                return await asyncio.gather(*(self.verify(sample, answer) for sample, answer in pairs))

        with start_blocking_portal() as portal:  # in a thread: a notebook has a loop of its own
            return portal.call(gather)


def unscorable(reason: str) -> Verdict:
    """An unscorable verdict; its reason becomes one short line without the lone surrogates that an answer may have."""
    line = " ".join(reason.split())[:200]
    return Verdict.unscorable(line.encode("utf-8", "backslashreplace").decode())
