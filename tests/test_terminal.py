"""What long work says of itself, and how figures are written."""

from types import SimpleNamespace

import pytest

from rtt_lightning import terminal


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 30.0, 90.0, 100.0, 149.0, 200.0])  # seconds: at the start, and after each row
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert list(terminal.announced("abcde", 5, "responses")) == list("abcde")
    assert capsys.readouterr().out == "2 of 5 responses after 2 minutes\n"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(terminal.announced("ab", 2, "responses")) == ["a", "b"]
    assert capsys.readouterr().out == ""


def test_one_is_no_plural_and_what_is_not_known_is_a_dash() -> None:
    assert [terminal.counted(number, "prompt") for number in (0, 1, 2)] == ["0 prompts", "1 prompt", "2 prompts"]
    assert [terminal.three_decimals(figure) for figure in (0.12345, float("nan"))] == ["0.123", "–"]
