"""What every verifier is: verdicts on one answer, without a failure ever becoming a reward."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.forecast import Expected, Forecast

Checker = Callable[..., Verdict]
"""From an answer and arguments to a verdict."""
JUDGE = "judge"
"""The checker id of criteria that no rule decides."""
CODE = "code"
"""The checker id of criteria that code from the data decides, as ``source`` among their arguments."""


class Memory(Protocol):
    """Verdicts that were kept from before."""

    remembered: int
    """How many of them were used so far instead of making them anew."""

    def forget(self) -> None:
        """Use none from now on, and keep no other in their place."""
        ...


class Verifier(ABC):
    """Decides the criteria of a rubric for one answer. Subclasses implement `verify`."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Around all verdicts of an event loop: what cannot outlive it, such as connections, is opened here."""
        yield

    @abstractmethod
    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        """One verdict per criterion, in rubric order.

        A criterion that cannot be decided (a broken checker, a judge that is down) is `Verdict.unscorable` with its
        reason; it never becomes "not met".
        """

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        """Verdicts that forgive what is around the answer, see `rtt_lightning.verifiers.rules.checkers`; the strict
        ones, as given, where a verifier has no loose reading.
        """
        return list(strict)

    def problems(self, sample: RubricSample) -> list[str]:
        """What this verifier cannot decide in a rubric, in words; asked when data is loaded."""
        return []

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        """What is doubtful about what their criteria depend on, such as a server, found out before anything is sampled.

        Raises:
            OutsideFailure: If it does not work at all.
        """
        return []

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        """What judging responses will cost, by each judge that is paid for it."""
        return []

    def gives_spans(self, criterion: Criterion) -> bool:
        """Whether verdicts on a criterion could say which characters decided them, and not only the whole answer."""
        return True

    def metrics(self) -> dict[str, float]:
        """What it has cost so far, for the log: the same names each time."""
        return {}

    def figures(self) -> dict[str, float]:
        """`metrics`, by the name that it had; it goes with the next release."""
        return self.metrics()

    def __init_subclass__(cls) -> None:
        if "figures" in vars(cls):  # a verifier of a user's that overrides the former name
            cls.metrics = cls.figures

    def memories(self) -> "list[Memory]":
        """What keeps its verdicts from one run to the next."""
        return []

    def verify_all(self, pairs: Sequence[tuple[RubricSample, str]]) -> list[list[Verdict]]:
        """Verdicts on many answers, concurrently; for callers outside an event loop."""

        async def gather() -> list[list[Verdict]]:
            async with self.session():
                return await asyncio.gather(*(self.verify(sample, answer) for sample, answer in pairs))

        with start_blocking_portal() as portal:  # in a thread: a notebook has a loop of its own
            return portal.call(gather)


def unscorable(reason: str) -> Verdict:
    """With the reason as one short line that any file can hold: it may quote lone surrogates of an answer."""
    line = " ".join(reason.split())[:200]
    return Verdict.unscorable(line.encode("utf-8", "backslashreplace").decode())
