"""`rtt data check`: everything that is wrong with a file, by line, and an exit code for scripts."""

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import nltk
import pytest

from rtt_lightning.cli import run
from rtt_lightning.commands.check_data import check_data
from rtt_lightning.lm.tokenizers import load_tokenizer
from tests.datamodules.adapters.test_adapters import HIR, IFEVAL, MULDIMIF

GOOD = {"prompt": "Of tea.", "criteria": [{"text": "Tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}]}


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def of_criterion(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "criteria": [{**GOOD["criteria"][0], **changes}]}


def test_a_good_file_is_described_and_ends_with_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_data(write(tmp_path / "a.jsonl", MULDIMIF), "muldimif") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 prompt with 5 criteria: 4 by rule (80.0%), 1 by a judge (20.0%)" in shown
    assert "rtt:keywords" in shown
    assert "nothing is wrong with it" in shown


@pytest.mark.parametrize(
    ("rows", "format", "problem"),
    [
        ([GOOD, '{"prompt": '], "rtt", "line 2: not JSON"),
        ([GOOD, {"prompt": "x"}], "rtt", "line 2: field `criteria` is missing"),
        ([of_criterion(checker="rtt:include_wrod")], "rtt", "unknown checker 'rtt:include_wrod'; did you mean"),
        ([of_criterion(kwargs={})], "rtt", "wrong arguments: rtt:include_word takes `word`, got none"),
        ([of_criterion(kwargs={"word": "tea", "x": 1})], "rtt", "rtt:include_word takes `word`, got `word`, `x`"),
        ([of_criterion(checker="code", kwargs={"source": "def f(:"})], "rtt", "checker code: it does not compile"),
        ([of_criterion(checker="code")], "rtt", "checker code must be a text in `kwargs.source`, got NoneType"),
        ([of_criterion(checker="code", kwargs={"source": ["x = 1"]})], "rtt", "checker code must be a text in"),
        ([{"prompt": "Hi.", "checker": ["[rule] Short."], "functions": [None]}], "verif", "`functions[0]` is empty"),
        ([{**IFEVAL, "kwargs": [{}, {}]}], "ifeval", "line 1: field `kwargs[1]` does not fit 'keywords:existence'"),
        ([{**HIR[0], "source": "type9"}], "hir", "line 1: field `source` must be type1"),
        ([], "rtt", "holds no rows"),
    ],
)
def test_what_is_wrong_is_named_and_ends_with_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[Any], format: str, problem: str
) -> None:
    assert check_data(write(tmp_path / "a.jsonl", *rows), format) == 1
    assert problem in " ".join(capsys.readouterr().out.split())


def test_criteria_of_unknown_checkers_are_not_decided_by_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids, kwargs = ["punctuation:no_comma", "last_word:last_word_answer"], [{}, {"last_word": "tea"}]
    row = {"key": 1, "prompt": "Tea?", "instruction_id_list": ids, "kwargs": kwargs}
    assert check_data(write(tmp_path / "a.jsonl", row), "ifeval") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 prompt with 2 criteria: 1 by rule (50.0%), 1 by no known checker (50.0%)" in shown


def test_each_sentence_is_shown_with_what_decides_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commonest first, in 80 columns, and marked where it was read."""
    code = {"text": "It runs.", "checker": "code", "kwargs": {"source": "def check(answer): return True"}}
    common = [*GOOD["criteria"], "At most 50 words", "Be kind to whoever reads it. " * 9, code]
    rows = [{"prompt": str(n), "criteria": [*common, f"Mention 'tea{n}'."]} for n in range(20)]
    assert check_data(write(tmp_path / "a.jsonl", *rows)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    table = [row for row in cells if len(row) == 3]
    assert ["Tea.", "rtt:include_word word='tea'", "20"] in table
    assert ["At most 50 words", "rtt:count_words low=0 high=50 *", "20"] in table
    assert ["It runs.", "code", "20"] in table
    assert ["Mention 'tea0'.", "rtt:keywords words=['tea0'] *", "1"] in table
    assert table[-1] == ["and 4 more", "", ""]


def test_criteria_of_muldimif_that_are_read_with_their_category_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_data(write(tmp_path / "a.jsonl", MULDIMIF), "muldimif") == 0
    shown = capsys.readouterr().out
    assert "rtt:is_xml low=5 high=5 *" in shown
    assert "rtt:is_json low=0 high=2 *" in shown


def test_what_nltk_lacks_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a fault of the machine, not of the file."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    row = {"key": 1, "prompt": "x", "instruction_id_list": ["words:start_verb"], "kwargs": [{}]}
    assert check_data(write(tmp_path / "a.jsonl", row), "ifeval") == 0
    assert "words:start_verb needs NLTK's 'punkt_tab', 'averaged_" in " ".join(capsys.readouterr().out.split())


def test_an_adapter_of_one_s_own_is_named_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.jsonl", {"ask": "Of tea.", "words": ["tea"]})
    own = "tests.datamodules.adapters.test_adapters.Mine"
    monkeypatch.setattr(sys, "argv", ["rtt", "data", "check", file, "--format", own])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0


def test_prompts_that_a_chat_template_leaves_out_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], real_model: str
) -> None:
    tokenizer = deepcopy(load_tokenizer(real_model))  # others share it
    tokenizer.chat_template = "{{ messages[0].content[:7] }}"
    tokenizer.save_pretrained(tmp_path / "model")
    long = {**GOOD, "prompt": "Of tea, and of the sea."}
    assert check_data(write(tmp_path / "a.jsonl", GOOD, long), tokenizer=str(tmp_path / "model")) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 prompts cannot be rendered a.jsonl:2: the chat template of" in shown
    assert "leaves out what a user says, 'Of tea, and of the sea.'" in shown


def test_prompts_in_both_files_are_a_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path / "train.jsonl", GOOD, {**GOOD, "prompt": "Of milk."})
    val = write(tmp_path / "val.jsonl", GOOD)
    assert check_data(train, val=val) == 1
    assert "1 prompts are in" in capsys.readouterr().out


def test_prompts_that_occur_twice_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_data(write(tmp_path / "a.jsonl", GOOD, GOOD)) == 0
    assert "1 prompts occur more than once" in capsys.readouterr().out


def test_prompts_are_measured_in_tokens_of_a_model(
    tmp_path: Path, real_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_data(write(tmp_path / "a.jsonl", GOOD), tokenizer=real_model) == 0
    assert "tokens" in capsys.readouterr().out


def test_the_console_script_passes_the_exit_code_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row, code in (("good", GOOD, 0), ("bad", {}, 1)):
        monkeypatch.setattr(sys, "argv", ["rtt", "data", "check", write(tmp_path / f"{name}.jsonl", row)])
        with pytest.raises(SystemExit) as ended:
            run()
        assert ended.value.code == code
