"""What an evaluation says of criteria that it could not decide."""

import json
from pathlib import Path

import pytest

from rtt_lightning.reports.evaluation import report
from rtt_lightning.reports.undecided import MOST_REASONS, undecided_reasons
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

EMPTY = Verdict.unscorable("judge: the judge's reply is empty")
SLOW = Verdict.unscorable("rtt:table took longer than [5] seconds")
MET = Verdict(True, "found")
CRITERIA = (
    Criterion("It is polite.", "judge"),
    Criterion("It is not long-winded.", "judge", weight=-2.0),
    Criterion("A table.", "rtt:table"),
)


def judged(prompt: str, *verdicts: Verdict) -> JudgedRollout:
    sample = RubricSample(prompt, ({"role": "user", "content": prompt},), CRITERIA)
    rollout = Rollout(prompt, 0, 0, (1,), (2,), "x", ((0, 1),), (0, 1), "stop", 0, 1.0)
    return JudgedRollout(sample, rollout, verdicts)


ROWS = [
    judged("a", MET, MET, SLOW),
    judged("b", EMPTY, EMPTY, MET),
    judged("b", EMPTY, MET, MET),
    judged("c", MET, MET, MET),
]


def test_reasons_are_counted_commonest_first_with_what_they_are_about() -> None:
    polite, long_winded = "It is polite.", "It is not long-winded. (weight -2)"
    assert undecided_reasons(ROWS) == [
        {"reason": EMPTY.reason, "criteria": 3, "responses": 2, "which": [polite, long_winded], "prompts": ["b"]},
        {"reason": SLOW.reason, "criteria": 1, "responses": 1, "which": ["rtt:table"], "prompts": ["a"]},
    ]
    assert undecided_reasons(ROWS[3:]) == []


def test_they_stand_on_the_terminal_and_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    report(ROWS, "validate", tmp_path, {})
    printed = capsys.readouterr().out
    assert printed.index("the judge's reply is empty") < printed.index("rtt:table took longer than [5] seconds")
    assert json.loads((tmp_path / "validate.json").read_text())["reasons"] == undecided_reasons(ROWS)
    report(ROWS[3:], "decided", tmp_path, {})
    assert "undecided" not in capsys.readouterr().out
    assert json.loads((tmp_path / "decided.json").read_text())["reasons"] == []


def test_of_very_many_reasons_the_rest_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [judged(str(n), MET, MET, Verdict.unscorable(f"reason {n}")) for n in range(MOST_REASONS + 3)]
    report(rows, "validate", None, {})
    assert "3 more reasons, of 3 criteria" in capsys.readouterr().out
