"""Completions on disk and on the terminal."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from rtt_lightning.commands.run import main
from rtt_lightning.datamodules import LabelledPairs
from rtt_lightning.datamodules.records import read_judged, read_records
from rtt_lightning.reports.completions import print_completions, show_kinds, write_completions
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

MARKUP = "[red]x[/red] {criterion} [/] <b>"


def judged(
    text: str, *verdicts: Verdict, think: int = 0, prompt: str = "Say hi.", kind: str = "rtt:x"
) -> JudgedRollout:
    """A response of one token per character, and an end token; its answer begins after ``think`` characters."""
    criteria = tuple(
        Criterion(f"Criterion {k} of {MARKUP}", kind, {"word": "é", "n": k, "list": ["a"]}, weight=k - 0.5)
        for k in range(len(verdicts))
    )
    return JudgedRollout(
        RubricSample("p1", ({"role": "system", "content": "Be 🦆."}, {"role": "user", "content": prompt}), criteria),
        Rollout(
            prompt_id="p1",
            group_id=4,
            sample_index=2,
            prompt_ids=(5, 6),
            response_ids=(*range(10, 10 + len(text)), 2),
            text=text,
            offsets=(*((i, i + 1) for i in range(len(text))), (len(text), len(text))),
            answer_span=(think, len(text)),
            finish_reason="stop",
            policy_version=3,
            temperature=0.75,
        ),
        verdicts,
    )


VERDICTS = (Verdict(True, "found", ((0, 2), (3, 4))), Verdict(False, 'no "P.S."', ()), Verdict(None, "down"))


def test_completions_are_read_again_as_judged_records(tmp_path: Path) -> None:
    rows = [judged(f"{MARKUP} 漢字\x00\u202e", *VERDICTS), judged("", Verdict(False, "empty answer", ()))]
    write_completions(tmp_path / "new/folder/a.parquet", rows)
    assert read_judged(tmp_path / "new/folder/a.parquet") == rows
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.parquet"]  # nothing half-written is left


def test_the_response_is_the_answer_that_verdicts_speak_of(tmp_path: Path) -> None:
    """Spans count from the beginning of the answer, behind the reasoning."""
    row = judged("<think>hm</think>tea", Verdict(True, "", ((0, 3),)), think=17)
    write_completions(tmp_path / "a.parquet", [row])
    [item] = read_judged(tmp_path / "a.parquet")
    [(start, end)] = item.verdicts[0].spans or ()
    assert item.rollout.answer[start:end] == "tea"
    assert pq.read_table(tmp_path / "a.parquet")["text"].to_pylist() == ["<think>hm</think>tea"]


def test_tokens_stand_beside_their_relevance_and_advantages_without_padding(tmp_path: Path) -> None:
    rows = [judged("ab", *VERDICTS), judged("a", VERDICTS[0])]
    relevance = torch.full((2, 3, 3), 0.25)
    relevance[1, 0, :2] = torch.tensor([0.5, 0.0])
    advantages = torch.tensor([[1.0, -2.0, 0.5], [4.0, 3.0, 99.0]])  # 99 is padding
    write_completions(tmp_path / "a.parquet", rows, relevance, advantages)
    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert first["relevance"] == [[0.25] * 3] * 3
    assert second["relevance"] == [[0.5, 0.0]]
    assert (first["advantages"], second["advantages"]) == ([1.0, -2.0, 0.5], [4.0, 3.0])
    assert first["response_ids"] == [10, 11, 2]
    assert first["offsets"] == [[0, 1], [1, 2], [2, 2]]
    assert (first["sample_index"], first["policy_version"], first["temperature"]) == (2, 3, 0.75)
    assert first["finish_reason"] == "stop"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for text in ("one", "another"):
        write_completions(tmp_path / "a.parquet", [judged(text, VERDICTS[0])])
    assert [item.rollout.text for item in read_judged(tmp_path / "a.parquet")] == ["another"]


def test_text_that_looks_like_markup_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = judged(f"R {MARKUP}", *VERDICTS, prompt=f"P {MARKUP}")
    nothing = torch.zeros(1, len(row.rollout.response_ids))
    print_completions([row], torch.tensor([0.5]), nothing, f"window {MARKUP}")
    shown = capsys.readouterr().out
    for text in (
        f"window {MARKUP}",
        "✓ as desired (of a negative weight: not met), ✗ not, ? undecided",
        f"P {MARKUP}",
        f"  1 Criterion 0 of {MARKUP} (weight -0.5)",
        f"  2 Criterion 1 of {MARKUP} (weight 0.5)",
        f"  3 Criterion 2 of {MARKUP} (weight 1.5)",
        f" ✗  ✗  ?    0.50  R {MARKUP}",  # the first is met, though unwanted
    ):
        assert text in [line.rstrip() for line in shown.splitlines()]
    print_completions([row], torch.tensor([torch.nan]), nothing, "window 2")  # a reward that is not known
    assert "nan" not in capsys.readouterr().out


def test_a_prompt_and_its_criteria_stand_once_above_its_responses(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [judged("one", *VERDICTS), judged("two", *VERDICTS), judged("three", VERDICTS[0], prompt="Say bye.")]
    rows[2] = replace(rows[2], sample=replace(rows[2].sample, id="p2"))
    print_completions(rows, torch.ones(3), torch.zeros(3, 6), "window 0")
    shown = capsys.readouterr().out
    assert [shown.count(text) for text in ("Say hi.", "Say bye.", "Criterion 0", "Criterion 1")] == [1, 1, 2, 1]
    assert max(map(len, shown.splitlines())) <= 80


def test_tokens_have_the_colours_of_their_credit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares of the greatest, 2: 1 and bold; 0.25; 0.05, too faint; 0.75 and bold. The last is of the end token."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    print_completions([judged("abcd", *VERDICTS)], torch.ones(1), torch.tensor([[2.0, 0.5, 0.1, -1.5, 2.0]]), "window")
    assert "\x1b[1;32ma\x1b[0m\x1b[32mb\x1b[0mc\x1b[1;31md\x1b[0m" in capsys.readouterr().out


def test_kinds_are_listed_from_the_rarest_success_with_unscorable_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """Weights are -0.5, 0.5, 1.5: a criterion of negative weight is as desired when it is not met."""
    met, unmet, down = VERDICTS
    rows = [
        judged("a", down, kind="broken"),
        judged("b", met, met, kind="[red]good"),
        judged("c", unmet, down, kind="bad"),
        judged("d", met, kind="bad"),
        judged("e", met, kind="bad"),
    ]
    show_kinds(rows, "validate: 5 responses")
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    # bad: unwanted and unmet, unwanted but met twice: 1 of 3. good: unwanted but met, wanted and met: 1 of 2.
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["bad", "-0.5 to 0.5", "3", "0.333", "1"],
        ["[red]good", "-0.5 to 0.5", "2", "0.500", "0"],
        ["broken", "-0.5", "0", "–", "1"],
    ]


def test_predict_makes_labelled_pairs_of_the_training_prompts(policy_args, tmp_path: Path) -> None:
    main(policy_args("predict", "--rollout.evaluation.n=2"))
    path = tmp_path / "completions/predict.parquet"
    rows, records = pq.read_table(path).to_pylist(), read_records(path)
    assert [(row["id"], row["sample_index"]) for row in rows] == [
        (f"constraints/0/{prompt}", sample) for prompt in range(8) for sample in range(2)
    ]
    [batch] = LabelledPairs(batch_size=1000).eval_loader(records, "train")
    answered = [item for item in read_judged(path) if item.rollout.answer]
    assert len(batch["pairs"]) == sum(len(item.verdicts) for item in answered)
    assert {pair["response"] for pair in batch["pairs"]} == {item.rollout.answer for item in answered}
