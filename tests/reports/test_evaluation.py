"""Figures of an evaluation with their intervals."""

import json
import math
from pathlib import Path

import pytest

from rtt_lightning.reports.evaluation import report, strict_and_loose_accuracies
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict


def judged(
    prompt: str, *met: bool | None, weights: tuple[float, ...] = (), loose: tuple[bool, ...] | None = None
) -> JudgedRollout:
    criteria = tuple(Criterion("A criterion.", "x", {}, weight) for weight in weights or (1.0,) * len(met))
    sample = RubricSample(prompt, ({"role": "user", "content": prompt},), criteria)
    forgiving = None if loose is None else tuple(Verdict(value, "") for value in loose)
    return JudgedRollout(sample, Rollout.of_text(prompt, "x"), tuple(Verdict(value, "") for value in met), forgiving)


def test_accuracies_count_what_is_decided() -> None:
    rows = [judged("a", True, True), judged("b", True, False), judged("c", True, None), judged("d", False, None)]
    found = strict_and_loose_accuracies(rows)
    assert found["rubric_accuracy_strict"]["mean"] == pytest.approx(4 / 6)  # of 8 criteria two are unscorable
    instruction = found["instruction_accuracy_strict"]
    assert instruction["lower_bound"]["accuracy"] == 1 / 4
    assert instruction["upper_bound"]["accuracy"] == 2 / 4  # d has failed, whatever its second criterion
    assert instruction["wholly_decided"]["accuracy"] == 1 / 2
    assert (instruction["wholly_decided"]["responses"], instruction["criteria"]) == (2, 2)
    assert "mean" not in instruction
    assert "rubric_accuracy_loose" not in found


def test_an_unwanted_criterion_is_as_desired_when_unmet() -> None:
    found = strict_and_loose_accuracies(
        [judged("a", True, False, weights=(1.0, -2.0)), judged("b", True, True, weights=(1.0, -2.0))]
    )
    assert found["instruction_accuracy_strict"]["mean"] == 0.5
    assert found["rubric_accuracy_strict"]["mean"] == 0.75


def test_what_is_not_known_is_a_dash_on_the_terminal_and_null_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report([judged("a", None)], "validate", tmp_path, {"val/kl": float("nan")})
    assert json.loads((tmp_path / "validate.jsonl").read_text())["weights"] == [1.0]
    written = json.loads((tmp_path / "validate.json").read_text())
    assert written["rubric_accuracy_strict"] == {"mean": None, "low": None, "high": None}
    assert (written["val/kl"], written["prompts"], written["undecided"]) == (None, 1, 1)
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "strict: 0 of 1 response wholly decided; all together have 1.0" in printed
    assert written["instruction_accuracy_strict"]["wholly_decided"]["accuracy"] is None
    report([judged("a", True)], "one", None, {})
    assert "1.000 (" not in capsys.readouterr().out  # one prompt gives no interval


def test_loose_accuracies_are_there_where_all_were_judged_loosely() -> None:
    rows = [judged("a", False, loose=(True,)), judged("b", False, loose=(False,))]
    assert strict_and_loose_accuracies(rows)["instruction_accuracy_loose"]["mean"] == 0.5


def test_each_bound_has_the_interval_of_a_share(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of 40 prompts 10 pass, 10 fail, 15 are open, 5 fail with one open; wholly decided ones have fewer criteria."""
    rows = [
        judged(f"{kind}{number}", *met)
        for kind, count, met in (
            ("passes", 10, (True,)),
            ("fails", 10, (False,)),
            ("open", 15, (True, None, True)),
            ("open and fails", 5, (None, False)),
        )
        for number in range(count)
    ]
    report(rows, "validate", tmp_path, {})
    found = json.loads((tmp_path / "validate.json").read_text())["instruction_accuracy_strict"]
    for part, passed, of in (("lower_bound", 10, 40), ("upper_bound", 25, 40), ("wholly_decided", 10, 20)):
        share = passed / of
        error = 1.96 * math.sqrt(share * (1 - share) / (of - 1))
        expected = {"accuracy": share, "low": share - error, "high": share + error}
        assert {name: found[part][name] for name in expected} == pytest.approx(expected), part
    assert (found["wholly_decided"]["responses"], found["wholly_decided"]["criteria"]) == (20, 1)
    assert found["criteria"] == pytest.approx((20 + 45 + 10) / 40)
    printed = capsys.readouterr().out
    assert "20 of 40 responses wholly decided, with 1.0 criteria on average; all together have 1.9" in printed
    rows = [line.split("│")[1:3] for line in printed.splitlines() if "bound" in line and "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["instruction, lower bound", "0.250 (0.114 to 0.386)"],
        ["instruction, upper bound", "0.625 (0.473 to 0.777)"],
    ]


def test_what_is_undecided_strictly_may_be_decided_loosely(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [judged("a", None, loose=(True,)), judged("b", False, loose=(False,))]
    found = strict_and_loose_accuracies(rows)
    assert found["instruction_accuracy_loose"]["mean"] == 0.5
    assert found["instruction_accuracy_strict"]["upper_bound"]["accuracy"] == 0.5
    report(rows, "validate", None, {})
    printed = capsys.readouterr().out
    assert "strict: 1 of 2 responses wholly decided" in printed
    assert "loose:" not in printed
