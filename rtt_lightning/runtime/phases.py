"""Where the time of a run goes, and the most memory it took."""

import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
SYNC, SAMPLING, JUDGING, RELEVANCE, UPDATE, IDLE = PHASES = (
    "sync", "sampling", "judging", "relevance", "update", "idle"
)  # fmt: skip


class Phases:
    """Seconds that a loop waited for each of its phases; `IDLE` has those of no phase.

    A second counts once: for the phase that was entered last. So phases add up to the time that passed. Work of another
    thread or of a GPU counts where the loop waits for it: what other threads than the one that made this say of their
    phases is ignored.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since, self._phase = clock, clock(), IDLE
        self._thread = threading.get_ident()
        self._seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    def switch(self, phase: str) -> str:
        """Count seconds for this one of `PHASES` from now on; returns the one before."""
        if threading.get_ident() != self._thread:
            return self._phase
        now, before = self._clock(), self._phase
        self._seconds[before] += now - self._since
        self._since, self._phase = now, phase
        return before

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Count the seconds within for this phase."""
        before = self.switch(phase)
        try:
            yield
        finally:
            self.switch(before)

    def each(self, phase: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; waiting for the next one is in this phase."""
        waiting, end = iter(items), object()
        while True:
            with self.during(phase):
                item = next(waiting, end)
            if item is end:
                return
            yield item  # pyright: ignore[reportReturnType]

    def pop(self) -> dict[str, float]:
        """Seconds of each phase since the last call, one of `PHASES` each."""
        self.switch(self._phase)
        seconds = dict(self._seconds)
        self._seconds |= dict.fromkeys(PHASES, 0.0)
        return seconds


def peak_gib() -> float:
    """Most memory so far: of the GPU, else resident in the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
