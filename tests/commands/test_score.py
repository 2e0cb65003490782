"""Saved responses, judged again."""

import json
import sys
from pathlib import Path

import pytest

from rtt_lightning.cli import run
from rtt_lightning.commands.run import main
from rtt_lightning.commands.score import command, score_again
from rtt_lightning.datamodules.records import read_judged, read_records
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.decisive import DecisiveSpans
from rtt_lightning.verifiers.judge import LLMJudge
from rtt_lightning.verifiers.router import Router
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.verifiers.judge.server import judge_server, seen


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
    agreement = score_again(windows, RuleVerifier(workers=0))
    assert agreement.criteria == agreement.decided > 12
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
    assert "no mood" in shown
    before, again = read_judged(windows), read_judged(output)
    assert [item.rollout for item in again] == [item.rollout for item in before]
    assert len(again) == 12
    assert {item.verdicts[0].met for item in again} == {None}
    assert {item.advantages for item in again} == {None}  # which the old verdicts made
    # Against these as gold, the rules are wrong wherever both decide.
    agreement = score_again(windows, RuleVerifier(workers=0), against=str(output))
    assert agreement.accuracy == 0.0
    assert agreement.criteria - agreement.decided == 12


def test_decisive_spans_become_labels(tmp_path: Path) -> None:
    """Of two uses neither decides that a word is used."""
    tea = {"text": "Use 'tea'.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}, "met": None}
    rows = [{"prompt": text, "response": text, "criteria": [tea]} for text in ("tea, milk", "tea, tea")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    output = tmp_path / "labels.parquet"
    score_again(tmp_path / "a.jsonl", DecisiveSpans(RuleVerifier(workers=0)), output=str(output))
    assert [pair["spans"] for pair in labelled_pairs(read_records(output))] == [((0, 3),), ()]
    assert {item.verdicts[0].spans_by for item in read_judged(output)} == {"leave-one-out"}


def judged_file(path: Path, *mets: bool | None, weight: float = 1.0) -> Path:
    """Responses that hold "tea" or not, judged before."""
    criteria = [{"text": "Mention tea.", "checker": "judge", "weight": weight}]
    rows = [
        {"prompt": f"Write {n}.", "criteria": [criteria[0] | {"met": met}], "response": "Tea." if n % 2 else "Milk."}
        for n, met in enumerate(mets)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_same_judge_is_asked_again_only_if_its_file_is_to_be_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind a router as in a run; what is kept stays as it was, for the runs that rest on it."""
    file = judged_file(tmp_path / "judged.jsonl", False, True, False)
    with judge_server() as url:

        def again(fresh: bool) -> tuple[int, str]:
            judge = LLMJudge("m", url, file=str(tmp_path / "judge.sqlite"))
            if fresh:
                [memory] = judge.memories()
                memory.forget()
            assert score_again(file, Router(RuleVerifier(workers=0), judge)).accuracy == 1
            return seen(url).calls, capsys.readouterr().out

        assert again(fresh=False)[0] == 3
        calls, printed = again(fresh=False)
        assert calls == 3
        assert "3 verdicts kept from before, not asked for again; --fresh asks for all" in printed
        calls, printed = again(fresh=True)
        assert calls == 6
        assert "kept from before" not in printed
        assert again(fresh=False)[0] == 6


def test_fresh_is_a_flag_of_the_command(tmp_path: Path) -> None:
    file = judged_file(tmp_path / "judged.jsonl", True, False)
    with judge_server() as url:
        settings = {"model": "m", "url": url, "file": str(tmp_path / "judge.sqlite")}
        judge = f"--rollout.verifier.judge={json.dumps({'class_path': 'LLMJudge', 'init_args': settings})}"
        for fresh, calls in (([], 2), ([], 2), (["--fresh"], 4)):
            command("score", [str(file), "--rollout.verifier=Router", judge, *fresh])
            assert seen(url).calls == calls


class Wordy(Verifier):
    """Finds a criterion met where the response mentions tea, and cannot say of milk."""

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict(True, "tea") if "Tea" in answer else Verdict.unscorable("milk")] * len(sample.criteria)


def test_bounds_stand_where_the_new_judge_leaves_something_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unwanted criterion, with its weight: it is as desired where tea is not mentioned."""
    monkeypatch.setenv("COLUMNS", "200")
    file = judged_file(tmp_path / "judged.jsonl", False, True, False, False, weight=-2.0)
    agreement = score_again(file, Wordy())
    assert (agreement.flips(True), agreement.flips(False), agreement.unscorable) == (0, 1, 2)
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    shown = {cells[0].strip(): [cell.strip().split(" (")[0] for cell in cells[1:]] for cells in lines}
    assert shown["Mention tea. (weight -2)"][:2] == ["4", "0.500"]
    assert shown["instruction-level"] == ["0.750", "–"]
    assert shown["instruction, lower bound"] == ["–", "0.000"]
    assert shown["instruction, upper bound"] == ["–", "0.500"]
    assert shown["wholly decided responses"] == ["–", "0.000"]


def test_mistakes_are_named(windows: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        json.dumps({"prompt": "p", "criteria": [{"text": "Mention a.", "checker": "rtt:no_commas"}]})
    )
    with pytest.raises(ValueError, match="holds no responses; `rtt fit`, `validate` and `predict` write them"):
        score_again(tmp_path / "prompts.jsonl", RuleVerifier(workers=0))
    with pytest.raises(ValueError, match=r"gold.jsonl lacks 12 of 12 responses"):
        score_again(windows, RuleVerifier(workers=0), against=str(judged_file(tmp_path / "gold.jsonl", True)))
