"""Saved responses, judged again."""

import json
import sys
from pathlib import Path

import pytest

from rtt_lightning.cli import main, run
from rtt_lightning.datamodules.records import read_records
from rtt_lightning.rejudge import Agreement, rejudge
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.rules import RuleVerifier


class Contrary(Verifier):
    """Finds the opposite of what rules find, and leaves the first criterion open."""

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        rules = await RuleVerifier(workers=0).verify(sample, answer)
        return [Verdict.unscorable("no mood"), *(Verdict(not verdict.met, "contrary") for verdict in rules[1:])]


@pytest.fixture
def windows(policy_args, tmp_path: Path) -> Path:
    main(policy_args("fit"))
    return tmp_path / "completions"


def test_the_same_rules_agree_with_themselves(windows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agreement = rejudge(windows, RuleVerifier(workers=0))
    assert len(agreement.pairs) == len(agreement.decided) > 12
    assert (agreement.accuracy, agreement.flips(True), agreement.flips(False)) == (1.0, 0, 0)
    assert agreement.kappa == pytest.approx(1.0)
    assert "agreement with the first verdicts" in capsys.readouterr().out


def test_another_judge_is_composed_from_yaml_and_its_verdicts_are_written(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judge.yaml").write_text(f"rollout: {{verifier: {{class_path: {__name__}.Contrary}}}}")
    output = tmp_path / "again.parquet"
    command = ["rtt", "rejudge", str(windows), "--config", str(tmp_path / "judge.yaml"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    run()
    shown = capsys.readouterr().out
    assert "unscorable: no mood" in shown
    again = read_records(output)
    assert len(again) == 12
    assert {record.verdicts[0].met for record in again} == {None}
    # Against these as gold, the rules are wrong wherever both decide.
    agreement = rejudge(windows, RuleVerifier(workers=0), gold=str(output))
    assert agreement.accuracy == 0.0
    assert len(agreement.pairs) - len(agreement.decided) == 12


def test_kappa_and_flips_by_hand() -> None:
    # 10 pairs: 4 both met, 3 both unmet, 2 to met, 1 to unmet: p0 = 0.7, pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, k = 0.4.
    pairs = (
        [(True, True)] * 4 + [(False, False)] * 3 + [(False, True)] * 2 + [(True, False)] + [(True, None), (None, True)]
    )
    agreement = Agreement(pairs)
    assert agreement.accuracy == pytest.approx(0.7)
    assert agreement.kappa == pytest.approx(0.4)
    assert (agreement.flips(True), agreement.flips(False), agreement.unscorable) == (2, 1, 1)


def test_mistakes_are_named(windows: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        json.dumps({"prompt": "p", "criteria": [{"text": "Mention a.", "checker": "rtt:no_commas"}]})
    )
    with pytest.raises(ValueError, match="holds no responses; `rtt fit` and `rtt validate` write them"):
        rejudge(tmp_path / "prompts.jsonl", RuleVerifier(workers=0))
    with pytest.raises(ValueError, match=r"prompts.jsonl lacks 12 of 12 responses"):
        rejudge(windows, RuleVerifier(workers=0), gold=str(tmp_path / "prompts.jsonl"))
