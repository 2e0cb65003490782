"""A window sampled in a thread: handed out once, saved as it is, and ended at the next response."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rtt_lightning.rollout.ahead import Ahead, Stopped, staleness, until
from rtt_lightning.types import Criterion, JudgedRollout, OutsideFailure, Rollout, RubricSample, Verdict

SAMPLE = RubricSample(
    "tea",
    ({"role": "user", "content": "Of tea."},),
    (Criterion("Use no commas.", "rtt:no_commas", {"n": 1}, -0.5, hard=True), Criterion("Be kind.", "judge")),
    task="Tea.",
)
VERDICTS = Verdict(True, "none", ((0, 2),), ("steering",), "global", 0.1, 1 / 3), Verdict.unscorable("no server")


def judged(version: int = 3) -> JudgedRollout:
    offsets, logprobs = ((0, 2), (2, 3), (3, 3)), (-1 / 3, -0.1, -2e-7)
    row = Rollout("tea", 1, 0, (5, 6), (7, 8, 2), "A «", offsets, (1, 3), "stop", version, 0.7, logprobs)
    return JudgedRollout(SAMPLE, row, VERDICTS)


def begun(rows: list[JudgedRollout]) -> Ahead:
    ahead = Ahead()
    ahead.start(4, lambda stop: rows)
    return ahead


def test_a_window_is_handed_out_once_and_to_nobody_else() -> None:
    ahead = begun([judged()])
    assert ahead.take(4) == [judged()]
    assert ahead.take(4) is None
    assert begun([judged()]).take(5) is None


def test_a_checkpoint_gives_back_what_was_sampled(tmp_path: Path) -> None:
    state = begun([judged(), judged()]).state_dict()
    torch.save([None, state], tmp_path / "state")
    saved = torch.load(tmp_path / "state", weights_only=True)
    again = Ahead.resumed(saved, rank=1, ranks=2, wanted=True)
    assert again.state_dict() == state
    assert again.take(4) == [judged(), judged()]
    assert again.state_dict() is None


@pytest.mark.parametrize(
    ("states", "ranks", "wanted", "said"),
    [
        (None, 1, True, ""),
        (None, 1, False, ""),
        ([], 1, False, ""),
        ([], 1, True, "the checkpoint holds no responses that were sampled ahead: its next window is sampled from"),
        ([{}], 1, False, "sampled ahead are dropped, with rollout.ahead 0: its next window is sampled from"),
        ([{}], 2, True, "are dropped, with 2 processes in place of 1: its next window is sampled from the current"),
    ],
)
def test_what_a_checkpoint_cannot_give_is_said(
    states: list[dict] | None, ranks: int, wanted: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert Ahead.resumed(states, 0, ranks, wanted).take(0) is None
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_an_error_comes_with_the_window_and_not_before() -> None:
    def fail(stop: threading.Event) -> list[JudgedRollout]:
        raise OutsideFailure("no server is left")

    ahead = Ahead()
    ahead.start(0, fail)
    ahead.wait()
    assert ahead.state_dict() is None
    with pytest.raises(OutsideFailure, match="no server is left"):
        ahead.take(0)


def test_after_a_stop_no_response_is_taken() -> None:
    taken, first = [], threading.Event()

    def rows() -> Iterator[int]:
        for number in range(3):
            yield number
            first.set()
            stopping.wait()

    def work(stop: threading.Event) -> list[JudgedRollout]:
        taken.extend(until(stop, rows()))
        return []

    ahead, stopping = Ahead(), threading.Event()
    ahead.start(0, work)
    first.wait()
    ahead.stop()
    stopping.set()
    ahead.wait()
    with pytest.raises(Stopped):
        ahead.take(0)
    assert list(until(None, range(3))) == [0, 1, 2]


def test_staleness_is_a_mean_and_has_a_limit() -> None:
    assert staleness([judged(3), judged(4)], 5, most=2) == 1.5
    assert staleness([], 5, most=2) == 0
    for version in (2, 6):
        with pytest.raises(AssertionError):
            staleness([judged(version)], 5, most=2)
