"""What long work says of itself, and how metrics are written."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from rtt_lightning.runtime import terminal


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 30.0, 90.0, 100.0, 149.0, 200.0])  # seconds: at the start, and after each row
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert list(terminal.announced("abcde", 5, "responses")) == list("abcde")
    assert capsys.readouterr().out == "2 of 5 responses after 90 s\n"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(terminal.announced("ab", 2, "responses")) == ["a", "b"]
    assert capsys.readouterr().out == ""


def test_a_warning_of_ours_is_its_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with warnings.catch_warnings():
        terminal.quieten()
    ours, other = (str(terminal.PACKAGE / "callbacks/start.py"), "/somewhere/else.py")
    assert warnings.formatwarning("slow", UserWarning, ours, 3) == "warning: slow\n"
    assert warnings.formatwarning("slow", UserWarning, other, 3).startswith("/somewhere/else.py:3: UserWarning: slow")


def test_one_is_no_plural_and_what_is_not_known_is_a_dash() -> None:
    assert [terminal.counted(number, "prompt") for number in (0, 1, 2)] == ["0 prompts", "1 prompt", "2 prompts"]
    seconds = (6.24, 9.96, 99.5, 540, 9000)
    assert [*map(terminal.duration, seconds)] == ["6.2 s", "10 s", "2 min", "9 min", "2.5 h"]
    assert [terminal.three_decimals(figure) for figure in (0.12345, float("nan"))] == ["0.123", "–"]


TALKATIVE = """
import sys
from rich.console import Console
from rich.table import Table
from rtt_lightning.runtime.terminal import endure

endure()
table = Table("sign", title="✓ é")
table.add_row("✗")
for number in range(4000):
    print(number, "–")
    print(number, "✓", file=sys.stderr)
Console().print(table)
sys.exit(3)
"""


def test_signs_that_the_output_cannot_encode_are_replaced() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TALKATIVE], env={"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stdout.startswith(b"0 ?\n")
    assert b"Error" not in ended.stderr


@pytest.mark.parametrize("redirection", ["| head -1 >/dev/null", "2>&1 | head -1 >/dev/null", ">&-", "2>&- >/dev/full"])
def test_a_program_whose_output_nobody_reads_goes_on(redirection: str) -> None:
    command = f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command, sys.executable, TALKATIVE], capture_output=True, check=False)
    assert ended.returncode == 3, ended.stderr.decode()
    assert b"Error" not in ended.stderr
