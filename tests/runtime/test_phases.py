"""Seconds of phases: each counts once."""

from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

from rtt_lightning.runtime.phases import IDLE, JUDGING, PHASES, SAMPLING, UPDATE, Phases, peak_gib


class Clock:
    """Stands still but for `wait`."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_second_counts_for_the_phase_entered_last_and_all_add_up() -> None:
    clock = Clock()
    phases = Phases(clock)

    def responses() -> Iterator[int]:
        for number in range(3):
            clock.wait(4)
            yield number
        clock.wait(2)  # what an engine does after its last response

    clock.wait(1)
    with phases.during(JUDGING):
        for _ in phases.each(SAMPLING, responses()):
            clock.wait(0.5)
        clock.wait(3)
    phases.switch(UPDATE)
    clock.wait(7)
    phases.switch(IDLE)
    clock.wait(2)
    # Sampling 3 x 4 + 2, judging 3 x 0.5 + 3, all else 1 + 2.
    none = dict.fromkeys(PHASES, 0)
    assert phases.pop() == none | {IDLE: 3, JUDGING: 4.5, SAMPLING: 14, UPDATE: 7}
    clock.wait(5)
    assert phases.pop() == none | {IDLE: 5}


def test_a_phase_ends_where_an_error_leaves_it() -> None:
    clock = Clock()
    phases = Phases(clock)
    with suppress(RuntimeError), phases.during(UPDATE):
        clock.wait(1)
        raise RuntimeError
    clock.wait(2)
    assert phases.pop() == dict.fromkeys(PHASES, 0) | {UPDATE: 1, IDLE: 2}


def test_another_thread_changes_nothing() -> None:
    clock = Clock()
    phases = Phases(clock)

    def work() -> None:
        with phases.during(JUDGING):
            for _ in phases.each(SAMPLING, range(2)):
                clock.wait(2)

    with phases.during(UPDATE):
        thread = Thread(target=work)
        thread.start()
        thread.join()
    clock.wait(1)
    assert phases.pop() == dict.fromkeys(PHASES, 0) | {UPDATE: 4, IDLE: 1}


def test_memory_is_that_of_this_process() -> None:
    before = peak_gib()
    held = bytearray(64 * 2**20)
    held[::4096] = b"1" * len(held[::4096])
    assert 0.05 < before <= peak_gib() < 64
