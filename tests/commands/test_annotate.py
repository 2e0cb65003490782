"""`rtt annotate` end to end: responses of a file, an annotator over HTTP, labels that a discriminator's view reads."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.annotation.responses import read_responses
from rtt_lightning.cli import answer, run
from rtt_lightning.commands.annotate import annotate, command
from rtt_lightning.datamodules.records import read_judged, read_records
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.types import JudgedRollout, OutsideFailure
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.judge import Budget, Limits
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.annotation.test_annotator import annotator
from tests.verifiers.judge.server import judge_server, seen

RULE = {"text": "Use the word 'tea'.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}


def responses(path: Path, count: int = 1, *criteria: dict[str, Any]) -> Path:
    """Each with a rule without a verdict, and judged criteria."""
    judged = criteria or (
        {"text": "Mention milk.", "checker": "judge", "met": True},
        {"text": "Avoid oats.", "checker": "judge", "met": False},
        {"text": "Be kind.", "checker": "judge", "met": True},
    )
    rows = [
        {"prompt": f"Write {n}.", "criteria": [RULE, *judged], "response": f"tea {n}, milk and oats."}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def flags(url: str, folder: Path, *more: str, **settings: Any) -> list[str]:
    given = {"model": "m", "url": url, "file": str(folder / "annotator.sqlite")} | settings
    return [f"--annotator={json.dumps(given)}", f"--output={folder}/labels.parquet", *more]


def label(source: Path, folder: Path, url: str, **settings: Any) -> list[JudgedRollout]:
    """The same as the command does, without reading a configuration."""
    edits = settings.pop("edits", 0)
    one = annotator(url, **({"file": str(folder / "annotator.sqlite")} | settings))
    return annotate(read_responses(source), RuleVerifier(workers=0), one, folder / "labels.parquet", edits=edits)


def pairs(file: Path) -> dict[str, list[str]]:
    """Relevant pieces by criterion, of the first response that has it."""
    found: dict[str, list[str]] = {}
    for pair in labelled_pairs(read_records(file)):
        found.setdefault(pair["criterion"], [pair["response"][slice(*span)] for span in pair["spans"]])
    return found


def test_a_file_of_responses_becomes_labels_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = responses(tmp_path / "responses.jsonl", 2)
    with judge_server() as url:
        budget = {"prompt_price": 1.0, "completion_price": 2.0}
        command("annotate", [str(file), *flags(url, tmp_path, "--agreement=1", budget=budget)])
        assert seen(url).calls == 3  # a call a response, and one to compare
    labels = tmp_path / "labels.parquet"
    assert pairs(labels) == {
        "Use the word 'tea'.": ["tea"],
        "Mention milk.": ["milk"],
        "Avoid oats.": ["oats"],
        "Be kind.": ["tea 0, milk and oats."],
    }
    rule, milk, oats, kind = read_judged(labels)[0].verdicts
    assert [verdict.spans_by for verdict in (rule, milk, oats, kind)] == ["", *["annotator"] * 3]
    assert (oats.met, oats.polarity, kind.scope) == (False, "negative", "global")
    card, shown = (tmp_path / "labels.md").read_text(), capsys.readouterr().out
    assert "annotator m: about 3 calls with up to" in shown
    assert f"labels: {labels}; pairs of a criterion and a response: 8 with labels, 0 set aside, 0 undecided; " in shown
    assert f"card: {tmp_path}/labels.md" in shown
    assert f"`{hashlib.sha256(labels.read_bytes()).hexdigest()}`" in card
    assert "| annotator_calls | 3 |" in card
    assert "| annotator_money | 0.00036 |" in card
    assert "| criteria that both labelled | 1 |" in card
    assert not [*tmp_path.glob("*.partial")]


def test_a_run_that_ended_in_the_middle_goes_on_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = responses(tmp_path / "responses.jsonl", 10)
    limits = {"limits": {"concurrency": 1, "attempts": 1}, "failures_in_a_row": 2}
    with judge_server(dies_after=4) as url:
        monkeypatch.setattr(sys, "argv", ["rtt", "annotate", str(file), *flags(url, tmp_path, **limits)])
        with pytest.raises(SystemExit) as ended:
            run()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"rtt: the annotator at {url} failed 2 times in a row, last: no connection" in said
    assert f"is kept in {tmp_path}/annotator.sqlite" in said
    assert "then run the same command again, which goes on from there" in said
    assert not (tmp_path / "labels.parquet").exists()
    with judge_server() as url:
        command("annotate", [str(file), *flags(url, tmp_path)])
        assert seen(url).calls == 6
        label(file, tmp_path, url)
        assert seen(url).calls == 6
    assert len(labelled_pairs(read_records(tmp_path / "labels.parquet"))) == 40


def test_a_budget_ends_it_and_more_of_it_goes_on(tmp_path: Path) -> None:
    """A call is charged with 110 tokens, and reserved with a token per byte, 100 for a chat template and its reply."""
    settings: dict[str, Any] = {"limits": Limits(concurrency=1), "max_completion_tokens": 500}
    file = responses(tmp_path / "responses.jsonl", 6)
    with judge_server() as url:
        label(responses(tmp_path / "one.jsonl"), tmp_path, url, **settings, file=None)
        (tmp_path / "labels.parquet").unlink()
        size = sum(len(message["content"].encode()) for message in seen(url).bodies[0]["messages"])
        with (
            pytest.warns(UserWarning, match=r"annotator m: .* more than budget.tokens"),
            pytest.raises(
                OutsideFailure,
                match=r"the annotator's budget does not cover another .* raise the budget, then",
            ),
        ):
            label(file, tmp_path, url, **settings, budget=Budget(tokens=size + 100 + 500 + 2 * 110))
        assert seen(url).calls == 1 + 3
        assert not (tmp_path / "labels.parquet").exists()
        label(file, tmp_path, url, **settings)
        assert seen(url).calls == 1 + 6


def test_edited_responses_are_labelled_like_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"text": "Mention tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps({"prompt": "Write.", "criteria": [rule], "response": "A tea."}))
    with judge_server() as url:
        label(file, tmp_path, url, edits=5)
        assert seen(url).calls == 1
    first, second = read_judged(tmp_path / "labels.parquet")
    assert (first.rollout.answer, second.rollout.answer) == ("A tea.", "A X.")
    [verdict] = second.verdicts
    assert (verdict.met, verdict.spans, verdict.flags) == (False, (), ("edited",))
    assert "| edited to break one criterion | 1 |" in (tmp_path / "labels.md").read_text()
    assert "annotator m: about 1 calls" in capsys.readouterr().out


def test_what_has_no_label_is_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with judge_server(misquotes=("milk",)) as url:
        label(responses(tmp_path / "responses.jsonl"), tmp_path, url)
    assert "Mention milk." not in pairs(tmp_path / "labels.parquet")
    assert ", 1 set aside, 0 undecided" in capsys.readouterr().out
    said = (tmp_path / "labels.md").read_text()
    assert '| `set aside: not in the response, word for word` | 1 | `["word for word"]` |' in said


def test_responses_to_prompts_of_the_data_are_judged_first(tmp_path: Path) -> None:
    """By a judge that quotes: no annotator is needed."""
    judged = {"text": "Mention milk.", "checker": "judge"}
    (tmp_path / "data.jsonl").write_text(json.dumps({"prompt": "Write.", "criteria": [RULE, judged]}))
    (tmp_path / "answers.jsonl").write_text(json.dumps({"prompt": "Write.", "response": "Milk and tea."}))
    with judge_server() as url:
        judge = {"model": "m", "url": url, "file": None, "evidence": True}
        source = {"class_path": "RecordFiles", "init_args": {"train": str(tmp_path / "data.jsonl")}}
        router = {"class_path": "Router", "init_args": {"judge": {"class_path": "LLMJudge", "init_args": judge}}}
        config = {"rollout": {"verifier": router}, "data": {"source": source}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        words = [str(tmp_path / "answers.jsonl"), "--config", str(tmp_path / "config.yaml")]
        command("annotate", [*words, f"--output={tmp_path}/labels.parquet"])
        assert seen(url).calls == 1
    assert pairs(tmp_path / "labels.parquet") == {"Use the word 'tea'.": ["tea"], "Mention milk.": ["Milk"]}
    said = (tmp_path / "labels.md").read_text()
    assert "| `judge` | 1 |" in said
    assert "| judge_calls | 1 |" in said


def test_without_a_file_responses_are_sampled_once(
    policy_args, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*policy_args("annotate")[1:], f"--output={tmp_path}/labels.parquet", "--seed_everything=5"]
    with pytest.raises(UserError, match="there is no annotator"):  # which edits need
        command("annotate", [*words, "--edits=1"])
    nobody = ["--annotator.model=m", "--annotator.url=http://127.0.0.1:9/v1", "--annotator.limits.attempts=1"]
    with pytest.raises(OutsideFailure, match=r"'m' at http://127.0.0.1:9/v1 was asked one .*Nothing was sampled"):
        command("annotate", [*words, "--edits=1", *nobody, "--annotator.file=null"])
    assert not (tmp_path / "completions").exists()
    command("annotate", [*words, "--withheld=2"])
    sampled, labelled = (read_judged(tmp_path / name) for name in ("completions/predict.parquet", "labels.parquet"))
    assert [item.rollout for item in labelled] == [item.rollout for item in sampled]
    assert all(verdict.spans is not None for item in labelled for verdict in item.verdicts if verdict.met is not None)
    assert len({item.sample.id for item in labelled if "/without/" in item.sample.id}) == 2
    assert "| sampled from a prompt without one criterion | " in (tmp_path / "labels.md").read_text()
    assert "is there already" not in capsys.readouterr().out
    command("annotate", [*words, "--seed_everything=6"])
    assert "predict.parquet is there already: its responses are labelled; remove it" in capsys.readouterr().out
    assert read_judged(tmp_path / "labels.parquet") == labelled


def test_without_an_annotator_where_one_is_needed_nothing_is_asked(tmp_path: Path) -> None:
    file = responses(tmp_path / "responses.jsonl")
    with pytest.raises(UserError, match=r"there is no annotator: set --annotator.model"):
        command("annotate", [str(file), f"--output={tmp_path}/labels.parquet"])
    undecided = responses(tmp_path / "undecided.jsonl", 1, {"text": "Be kind.", "checker": "judge"})
    with pytest.raises(UserError, match=r"needs a judge"):
        command("annotate", [str(undecided), "--annotator.model=m", "--annotator.url=http://127.0.0.1:9/v1"])


def test_rules_alone_need_no_annotator(tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps({"prompt": "Write.", "criteria": [RULE], "response": "no tea"}))
    labelled = annotate(
        read_responses(file),
        RuleVerifier(workers=0),
        annotator(None, model=None),
        tmp_path / "out/labels.parquet",
    )
    assert labelled[0].verdicts[0].spans == ((3, 6),)
    assert "Nothing was asked of a paid model." in (tmp_path / "out/labels.md").read_text()


def test_mistakes_are_named(tmp_path: Path) -> None:
    for words, reason in (
        ([], "give a FILE of responses; or, to sample them, a model"),
        ([str(responses(tmp_path / "r.jsonl")), "--output=labels.jsonl"], "--output must be a .parquet file"),
        ([str(tmp_path / "r.jsonl"), "--annotator.modle=m"], "did you mean"),
        ([str(tmp_path / "r.jsonl"), "--withheld=1"], "--withheld is about prompts to sample from"),
        ([str(tmp_path / "r.jsonl"), "--edits=-1"], "are numbers from 0 up"),
    ):
        with pytest.raises(UserError, match=reason):
            command("annotate", words)


def test_its_settings_compose_and_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("annotator: {model: gpt, limits: {concurrency: 3}}")
    with pytest.raises(SystemExit):
        answer(["annotate", "--config", str(tmp_path / "mine.yaml"), "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)["annotator"]
    assert printed["class_path"] == "rtt_lightning.LLMAnnotator"
    assert (printed["init_args"]["model"], printed["init_args"]["limits"]["concurrency"]) == ("gpt", 3)


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        answer(["annotate", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:32])) <= 80
