"""The record schema: what is read, and one error for all that is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rtt_lightning.datamodules import RecordFiles, RubricDataModule
from rtt_lightning.datamodules.adapters import adapter_named
from rtt_lightning.datamodules.records import read_judged, read_records
from rtt_lightning.types import Criterion, Rollout, Verdict

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
    assert record.judged is None


def test_a_judged_response_brings_verdicts_and_spans(tmp_path: Path) -> None:
    criterion = {**GOOD["criteria"][0], "met": True, "spans": [[0, 3]]}
    [item] = read_judged(write(tmp_path / "a.jsonl", {**GOOD, "response": "tea", "criteria": [criterion]}))
    assert item.rollout == Rollout.of_text("a.jsonl:1", "tea")
    assert item.verdicts == (Verdict(True, "", ((0, 3),)),)


def test_a_verdict_keeps_its_scope(tmp_path: Path) -> None:
    verdict = Verdict(True, "", ((0, 3),), scope="global")
    row = Criterion("Use tea.", "rtt:word_count", {"word": "tea", "n": 1}).to_row() | verdict.to_row()
    [item] = read_judged(write(tmp_path / "a.jsonl", {**GOOD, "response": "tea, tea", "criteria": [row]}))
    assert item.verdicts == (verdict,)
    assert item.verdicts[0].relevant(8) == ((0, 8),)


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
        {"prompt": "x", "criteria": [{"checker": "judge"}]},
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
        "line 6: field `criteria[0].text` is missing",
        "line 7: field `criteria[0]`: criterion weight must be finite and not 0",
        "line 9: field `prompt` must be a string, got int",
        "line 10: field `criteria[0].met`",
        "line 11: expected an object",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        *(
            ({"spans": spans}, "field `criteria[0].spans` must be a list of [start, end] pairs of integers within the")
            for spans in (True, 3, "ab", [[None, 1]], [["a", "b"]], [[0, True]], [[0.0, 1.0]], [[0]], [3])
        ),
        *(
            ({"spans": spans}, "within the 5 characters of `response`, 0 <= start <= end <= 5, got [[")
            for spans in ([[5, 900]], [[0, 1], [-3, -1]], [[4, 2]])
        ),
        ({"flags": 3}, "field `criteria[0].flags` must be a list of strings, got 3"),
        ({"flags": "steering"}, "field `criteria[0].flags` must be a list of strings, got steering"),
        ({"flags": [None]}, "field `criteria[0].flags` must be a list of strings, got [None]"),
        ({"scope": "somewhere"}, "field `criteria[0].scope` must be local or global, got 'somewhere'"),
        ({"span_relevance": [1]}, "must be a list of numbers in [0, 1], one for each of the 0 spans, got [1]"),
        ({"span_relevance": 0.5, "spans": [[0, 1]]}, "one for each of the 1 spans, got 0.5"),
        ({"span_relevance": [2], "spans": [[0, 1]]}, "must be between 0 and 1, got 2"),
        ({"polarity": "none"}, "field `criteria[0].polarity` must be positive or negative, got 'none'"),
        ({"value": 1.5}, "field `criteria[0].value` must be between 0 and 1, got 1.5"),
        ({"confidence": "high"}, "field `criteria[0].confidence` must be a finite number, got high"),
        ({"hard": 1}, "field `criteria[0].hard` must be true, false or null, got 1"),
        ({"weight": 10**400}, "field `criteria[0].weight` must be a finite number, got 1000"),
        ({"weight": True}, "field `criteria[0].weight` must be a finite number, got True"),
        ({"weight": float("-inf")}, "field `criteria[0].weight` must be a finite number, got -inf"),
    ],
)
def test_bad_verdicts_and_weights_are_named_by_line_and_field(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    criterion = {**GOOD["criteria"][0], "met": True, **changes}
    with pytest.raises(ValueError, match=re.escape(f"line 2: field `criteria[0].{next(iter(changes))}`")) as error:
        read_records(write(tmp_path / "a.jsonl", GOOD, {**GOOD, "response": "hello", "criteria": [criterion]}))
    assert problem in str(error.value)


def test_misspelt_keys_are_named_with_the_nearest_and_columns_of_the_users_own_stay(tmp_path: Path) -> None:
    criterion = GOOD["criteria"][0]
    rows = [
        {**GOOD, "criteria": [{**criterion, "wieght": 2}]},
        {**GOOD, "criteria": [{**criterion, "zzz": 2}]},
        {**GOOD, "respons": "tea"},
        {**GOOD, "source": "mine", "difficulty": 3, "offset": 2},
    ]
    path = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(ValueError, match="3 of 4 rows") as error:
        read_records(path)
    for text in (
        "field `criteria[0]` has the unknown key `wieght`; is `weight` meant?\n",
        "field `criteria[0]` has the unknown key `zzz`; known are text, checker, kwargs,",
        "the row has the unknown key `respons`; is `response` meant?",
    ):
        assert text in str(error.value)
    assert len(read_records(write(tmp_path / "b.jsonl", rows[-1]))) == 1


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("At most 50 words.", ("rtt:count_words", {"low": 0, "high": 50})),
        ({"text": "At most 50 words.", "checker": None, "kwargs": {}}, ("rtt:count_words", {"low": 0, "high": 50})),
        ({"text": "At most 50 words.", "checker": "judge"}, ("judge", {})),
        ("At most 50 words, or so.", ("judge", {})),
        ("[1] is cited", ("judge", {})),
        ('{"text": "Tea.", "checker": "rtt:no_commas"}', ("rtt:no_commas", {})),
    ],
)
def test_a_criterion_without_a_checker_is_read_or_left_to_a_judge(
    tmp_path: Path, criterion: Any, expected: tuple[str, Any]
) -> None:
    [record] = read_records(write(tmp_path / "a.jsonl", {**GOOD, "criteria": [criterion]}))
    [found] = record.sample.criteria
    assert (found.checker, found.kwargs) == expected


@pytest.mark.parametrize(
    ("criterion", "problem"),
    [
        ({"text": "Short.", "kwargs": {"n": 5}}, "`criteria[0].kwargs` has arguments, but there is no `checker`"),
        ("", "field `criteria[0]`: criterion text is empty"),
        (3, "field `criteria[0]` must be a sentence, or an object with `text`, got 3"),
    ],
)
def test_what_is_no_criterion_is_named(tmp_path: Path, criterion: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_records(write(tmp_path / "a.jsonl", {**GOOD, "criteria": [criterion]}))


def test_spans_may_be_empty_and_reach_the_end_of_the_response(tmp_path: Path) -> None:
    criterion = {**GOOD["criteria"][0], "met": None, "spans": [[0, 0], [5, 5], [0, 5]], "flags": ["steering"]}
    [item] = read_judged(write(tmp_path / "a.jsonl", {**GOOD, "response": "hello", "criteria": [criterion]}))
    assert item.verdicts == (Verdict(None, "", ((0, 0), (5, 5), (0, 5)), ("steering",)),)


def test_a_number_with_too_many_digits_is_a_bad_row(tmp_path: Path) -> None:
    number = "9" * 5000
    packed = json.dumps({"prompt": "x", "criteria": f"[{number}]"})
    with pytest.raises(ValueError, match="2 of 3 rows") as error:
        read_records(write(tmp_path / "a.jsonl", GOOD, f'{{"weight": {number}}}', packed))
    assert "line 2: not JSON: a number has too many digits" in str(error.value)
    assert "line 3: field `criteria` must be a list with at least one criterion, got a number has" in str(error.value)


@pytest.mark.parametrize(("name", "text", "match"), [
    ("a.jsonl", "", "no records"),
    ("a.csv", "x", "give a .jsonl, .json or .parquet file"),
    ("a.parquet", "", "a.parquet cannot be read as parquet"),
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


def test_one_reason_is_listed_once_with_its_lines_and_the_fields_that_rows_have(tmp_path: Path) -> None:
    """verl's layout: no shipped format reads it."""
    row = {
        "data_source": "health",
        "prompt": "A cough?",
        "reward_model": {"rubrics": [{"criterion": "x", "points": 5}]},
    }
    with pytest.raises(ValueError, match="20 of 20 rows") as error:
        read_records(write(tmp_path / "a.jsonl", *[row] * 20))
    _, reason, advice = str(error.value).splitlines()
    assert reason == "  lines 1, 2, 3 and 17 more: field `criteria` is missing"
    assert advice.startswith(
        "  the fields of line 1 are data_source, prompt, reward_model; no shipped format reads them"
    )
    assert "tutorials/03_your_own_data.py" in advice


def test_a_format_that_fits_is_named(tmp_path: Path) -> None:
    row = {"question": "Why?", "rubric": [{"title": "Reason", "description": "Gives a reason.", "weight": 3}]}
    with pytest.raises(ValueError, match="are question, rubric; format weighted reads them"):
        read_records(write(tmp_path / "a.jsonl", row))
    with pytest.raises(ValueError, match="line 2: field") as error:  # the format is right, a row is not
        read_records(write(tmp_path / "a.jsonl", GOOD, row))
    assert "weighted" not in str(error.value)


def test_a_format_that_has_the_fields_says_what_is_wrong_with_their_values(tmp_path: Path) -> None:
    row = {**GOOD, "criteria": [{**GOOD["criteria"][0], "checkr": "judge"}]}
    says = "prompt, criteria; they are those of format rtt or trl, which says: field `criteria[0]` has the unknown key"
    with pytest.raises(ValueError, match=re.escape(says)):
        read_records(write(tmp_path / "a.jsonl", row), adapter_named("muldimif"))


@pytest.mark.parametrize(("weight", "expected"), [("2.5", 2.5), (None, 1.0), ("-1", -1.0), (3, 3.0)])
def test_weights_that_are_numbers_in_another_dress(tmp_path: Path, weight: Any, expected: float) -> None:
    row = {**GOOD, "criteria": [{**GOOD["criteria"][0], "weight": weight}]}
    assert read_records(write(tmp_path / "a.jsonl", row))[0].sample.criteria[0].weight == expected


def test_arguments_that_parquet_filled_with_nulls_are_absent(tmp_path: Path) -> None:
    criteria = [
        {"text": "Use tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}},
        {"text": "Short.", "checker": "rtt:max_words", "kwargs": {"n": 5}},
    ]
    pq.write_table(pa.Table.from_pylist([{"prompt": "Hi.", "criteria": criteria}]), tmp_path / "a.parquet")
    [record] = read_records(tmp_path / "a.parquet")
    assert [c.kwargs for c in record.sample.criteria] == [{"word": "tea"}, {"n": 5}]


@pytest.mark.parametrize(("given", "expected"), [(0, "0"), (7.0, "7"), ("", "a.jsonl:1"), (None, "a.jsonl:1")])
def test_ids_of_any_kind(tmp_path: Path, given: Any, expected: str) -> None:
    [record] = read_records(write(tmp_path / "a.jsonl", {**GOOD, "id": given}))
    assert record.sample.id == expected
