"""Sampling one window ahead: a thread samples and judges the next window while the policy trains on this one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from statistics import mean
from threading import Event, Thread
from typing import Any, TypeVar

from lightning.pytorch.utilities import rank_zero_info

from rtt_lightning.types import JudgedRollout

T = TypeVar("T")


class Stopped(Exception):
    """The run ended before the responses did."""


def until(stop: Event | None, rows: Iterable[T]) -> Iterator[T]:
    """Yield the rows; raise `Stopped` at the first one that comes after ``stop`` was set."""
    for row in rows:
        if stop is not None and stop.is_set():
            raise Stopped
        yield row


def staleness(judged: Sequence[JudgedRollout], version: int, most: int) -> float:
    """Mean number of updates between the weights that sampled responses and those of a ``version``, from 0 to ``most``;
    0 without responses.
    """
    behind = [version - item.rollout.policy_version for item in judged]
    assert all(0 <= updates <= most for updates in behind), f"sampled {behind} updates ago, at most {most}"
    return mean(behind) if behind else 0.0


class Ahead:
    """The responses of this process to the next window: to be sampled, in the making, or there."""

    def __init__(self) -> None:
        self._window = -1
        self._judged: Future[list[JudgedRollout]] | None = None
        self._stop = Event()

    def start(self, window: int, work: Callable[[Event], list[JudgedRollout]]) -> None:
        """Begin a window in a thread.

        Args:
            window: Its number in the run.
            work: Makes its responses, with no exchange between processes; should end soon after its event is set.
        """
        assert self._judged is None, "the window before was not taken"
        self._window, self._judged = window, Future()

        def run(judged: Future[list[JudgedRollout]]) -> None:
            try:
                judged.set_result(work(self._stop))
            except BaseException as error:  # raised again where the window is needed
                judged.set_exception(error)

        # As a daemon it does not hold up the end of a process whose main thread failed.
        Thread(target=run, args=(self._judged,), name="rollout-ahead", daemon=True).start()

    def take(self, window: int) -> list[JudgedRollout] | None:
        """Wait for the responses to a window, and hand them out; ``None`` if it was not begun.

        Raises:
            Exception: Whatever its thread raised.
        """
        judged, self._judged = self._judged, None
        return judged.result() if judged is not None and self._window == window else None

    def wait(self) -> None:
        """Wait until nothing is sampled any more, without raising; the responses stay."""
        wait([self._judged] if self._judged else [])

    def stop(self) -> None:
        """Have the thread end at its next response, for good."""
        self._stop.set()

    def state_dict(self) -> dict[str, Any] | None:
        """Plain values, which load with ``weights_only``; ``None`` without responses, or if they failed. Waits."""
        self.wait()
        if self._judged is None or self._judged.exception() is not None:
            return None
        return {"window": self._window, "rows": [item.to_row() for item in self._judged.result()]}

    @classmethod
    def resumed(cls, states: Sequence[dict[str, Any]] | None, rank: int, ranks: int, wanted: bool) -> "Ahead":
        """The responses of this process, from those that all processes saved; says so if they cannot be used.

        Args:
            states: Of each process that saved; empty without responses, ``None`` without a checkpoint.
            rank: Of this process.
            ranks: Number of processes now.
            wanted: Whether this run samples ahead.
        """
        ahead, again = cls(), "its next window is sampled from the current weights"
        if wanted and states == []:
            rank_zero_info(f"the checkpoint holds no responses that were sampled ahead: {again}")
        elif states and not (wanted and len(states) == ranks):
            now = f"with {ranks} processes in place of {len(states)}" if wanted else "with rollout.ahead 0"
            rank_zero_info(f"responses in the checkpoint that were sampled ahead are dropped, {now}: {again}")
        elif states:
            ahead._window, ahead._judged = states[rank]["window"], Future()
            ahead._judged.set_result([JudgedRollout.from_row(row) for row in states[rank]["rows"]])
        return ahead
