"""The record schema: what is read, and one error for all that is wrong."""

import json
from pathlib import Path

import pytest

from rtt_lightning.datamodules import RecordFiles, RubricDataModule
from rtt_lightning.datamodules.records import read_records
from rtt_lightning.types import Verdict

GOOD = {
    "prompt": "Say hi.",
    "criteria": [{"text": "Use tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}],
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_a_minimal_row_becomes_a_sample(tmp_path: Path) -> None:
    [record] = read_records(write(tmp_path / "a.jsonl", GOOD))
    assert record.sample.id == "a.jsonl:1"
    assert record.sample.messages == ({"role": "user", "content": "Say hi."},)
    assert record.sample.criteria[0].weight == 1.0
    assert record.response is None


def test_a_judged_response_brings_verdicts_and_spans(tmp_path: Path) -> None:
    criterion = {**GOOD["criteria"][0], "met": True, "spans": [[0, 3]]}
    [record] = read_records(write(tmp_path / "a.jsonl", {**GOOD, "response": "tea", "criteria": [criterion]}))
    assert record.verdicts == (Verdict(True, "", ((0, 3),)),)


def test_text_that_looks_like_markup_or_templates_is_kept(tmp_path: Path) -> None:
    prompt = "{} $C$ </response> \u202e \x00 漢字 🦆"
    [record] = read_records(write(tmp_path / "a.jsonl", {**GOOD, "prompt": prompt}))
    assert record.sample.messages[0]["content"] == prompt


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    bad = [
        {"criteria": GOOD["criteria"]},
        {"prompt": "x"},
        {"prompt": "x", "criteria": []},
        "{not json",
        {"prompt": "x", "criteria": [{"text": "t"}]},
        {"prompt": "x", "criteria": [{**GOOD["criteria"][0], "weight": 0}]},
        {"prompt": "x", "criteria": [{**GOOD["criteria"][0], "weight": float("nan")}]},
        {"prompt": 3, "criteria": GOOD["criteria"]},
        {**GOOD, "response": "r"},
        [1],
    ]
    with pytest.raises(ValueError, match="10 of 11 rows") as error:
        read_records(write(tmp_path / "a.jsonl", GOOD, *bad))
    text = str(error.value)
    for part in (
        "line 2: field `prompt`",
        "line 3: field `criteria`",
        "line 5: not JSON",
        "line 6: field `criteria[0].checker` is missing",
        "line 7: field `criteria[0]`: criterion weight must be finite and not 0",
        "line 9: field `prompt` must be a string, got int",
        "line 10: field `criteria[0].met`",
        "line 11: expected an object",
    ):
        assert part in text


@pytest.mark.parametrize(("name", "text", "match"), [
    ("a.jsonl", "", "no records"),
    ("a.csv", "x", "give a .jsonl, .json or .parquet file"),
    (None, None, "no data file"),
])  # fmt: skip
def test_unusable_files_are_refused(tmp_path: Path, name: str | None, text: str | None, match: str) -> None:
    path = tmp_path / (name or "missing.jsonl")
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=match):
        read_records(path)


def test_splits_share_no_prompt_even_where_prompts_repeat(tmp_path: Path) -> None:
    rows = [{**GOOD, "prompt": f"prompt {n % 50}", "id": str(n)} for n in range(200)]
    data = RubricDataModule(RecordFiles(train=str(write(tmp_path / "a.jsonl", *rows))), val_share=0.3)
    data.setup("fit")
    train, val = ({r.sample.messages[0]["content"] for r in data.records[split]} for split in ("train", "val"))
    assert train
    assert val
    assert not train & val
    assert len(data.records["train"]) + len(data.records["val"]) == 200
