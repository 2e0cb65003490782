"""Judged responses as rows: nothing is lost on the way, and files of version 0.1.0 still load."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.datamodules.records import read_judged, read_records
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.reports.evaluation import verdict_row
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.judging import judge_again
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.conftest import ROOT

OLD = ROOT / "tests/assets/v0.1.0"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    TEXT | st.integers(-9, 9) | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)


@st.composite
def verdicts(draw: st.DrawFn, length: int) -> Verdict:
    """Any on an answer of some length."""
    bounds = st.tuples(st.integers(0, length), st.integers(0, length)).map(lambda ends: (min(ends), max(ends)))
    share = st.floats(0, 1)
    spans = draw(st.none() | st.lists(bounds, max_size=3).map(tuple))
    return Verdict(
        draw(st.sampled_from([True, False, None])),
        draw(TEXT),
        spans,
        draw(st.lists(TEXT, max_size=2).map(tuple)),
        draw(st.sampled_from(["global", "local"])),
        draw(st.none() | share),
        draw(share),
        span_relevance=draw(st.sampled_from([(), draw(st.tuples(*[share] * len(spans or ())))])),
    )


@st.composite
def judged(draw: st.DrawFn) -> JudgedRollout:
    """Any, with tokens or of a text alone."""
    text = draw(TEXT)
    start = draw(st.integers(0, len(text)))
    tokens, weight = draw(st.integers(0, 3)), FINITE.filter(bool)
    rubric = draw(
        st.lists(
            st.builds(
                Criterion,
                TEXT.filter(str.strip),
                TEXT,
                st.dictionaries(TEXT, VALUES, max_size=2),
                weight,
                st.sampled_from([None, True, False]),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def row(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.tuples(*[values] * tokens)

    def each(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.tuples(*[values] * len(rubric))

    turn = {"role": "user", "content": draw(TEXT.filter(str.strip))}
    sample = RubricSample(draw(TEXT.filter(bool)), (turn,), tuple(rubric), draw(st.none() | TEXT))
    rollout = Rollout(
        prompt_id=sample.id,
        group_id=draw(st.integers(0, 2**32)),
        sample_index=draw(st.integers(0, 9)),
        prompt_ids=tuple(draw(st.lists(st.integers(0, 9), max_size=3))),
        response_ids=draw(row(st.integers(0, 2**17))),
        text=text,
        offsets=draw(row(st.just((0, len(text))))),
        answer_span=(start, len(text)),
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        policy_version=draw(st.integers(0, 99)),
        temperature=draw(st.floats(0.1, 2)),
        logprobs=draw(st.none() | row(FINITE)),
    )
    found = each(verdicts(len(text) - start))
    return JudgedRollout(
        sample,
        rollout,
        draw(found),
        draw(st.none() | found),
        draw(st.none() | each(row(FINITE))),
        draw(st.none() | row(FINITE)),
    )


@given(judged())
def test_a_row_holds_all_of_a_judged_response(item: JudgedRollout) -> None:
    assert JudgedRollout.from_row(item.to_row()) == item
    assert JudgedRollout.from_row(json.loads(json.dumps(item.to_row()))) == item


@settings(max_examples=30, deadline=None)
@given(st.lists(judged(), min_size=1, max_size=3))
def test_so_does_a_file(tmp_path_factory: pytest.TempPathFactory, items: list[JudgedRollout]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    write_completions(folder / "a.parquet", items)
    (folder / "a.jsonl").write_text("".join(json.dumps(item.to_row()) + "\n" for item in items))
    for name in ("a.parquet", "a.jsonl"):
        assert read_judged(folder / name) == items


def test_value_confidence_and_hardness_stand_only_where_they_say_something() -> None:
    assert set(Criterion("It is so.", "x").to_row()) == {"text", "checker", "kwargs", "weight"}
    assert set(Verdict(True, "").to_row()) == {"met", "reason", "spans", "flags", "scope"}
    assert Criterion("It is so.", "x", hard=False).to_row()["hard"] is False
    graded = Verdict(True, "", value=0.75, confidence=0.5).to_row()
    assert (graded["value"], graded["confidence"]) == (0.75, 0.5)


def test_a_response_of_which_the_text_alone_is_known_has_no_tokens() -> None:
    row, other = Rollout.of_text("p", "think: tea", (7, 10)), Rollout.of_text("q", "tea")
    assert (row.answer, row.response_ids, row.answer_tokens, row.logprobs) == ("tea", (), [], None)
    assert row.group_id == Rollout.of_text("p", "milk").group_id != other.group_id  # compared with those of its prompt
    assert other.answer == "tea"


# -- version 0.1.0 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["validate", "window-000000"])
def test_what_version_0_1_0_wrote_is_read(name: str) -> None:
    """All that stands in its rows; what did not is as in `Rollout.of_text`."""
    rows = pq.read_table(OLD / f"{name}.parquet").to_pylist()
    found = read_judged(OLD / f"{name}.parquet")
    assert len(found) == len(rows) == 12
    for item, row in zip(found, rows, strict=True):
        now = json.loads(json.dumps(item.to_row()))
        assert json.loads(now.pop("criteria")) == json.loads(row.pop("criteria"))
        assert {field: now[field] for field in row} == row
        unknown = Rollout.of_text(row["id"], row["response"])
        assert item.rollout.prompt_ids == unknown.prompt_ids
        assert item.rollout.group_id == unknown.group_id
        assert item.rollout.logprobs is item.loose is None
        assert item.rollout.answer == row["response"]
    assert (found[0].advantages is not None) == (name == "window-000000")
    assert len({item.rollout.group_id for item in found}) == len({item.sample.id for item in found})


@pytest.mark.parametrize("change", [{"response": "Tea"}, {"response": "other"}, {"offsets": []}, {"text": None}])
def test_a_response_that_was_changed_in_a_file_is_text_alone(tmp_path: Path, change: dict[str, Any]) -> None:
    """Its tokens would be those of another."""
    verdict = Verdict(True, "", ((0, 2),))
    sample = RubricSample("p", ({"role": "user", "content": "x"},), (Criterion("It is so.", "x"),))
    rollout = Rollout("p", 7, 0, (1,), (2, 3), "Tea.", ((0, 2), (2, 4)), (0, 4), "stop", 0, 1.0)
    row = JudgedRollout(sample, rollout, (verdict,)).to_row() | change
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    [found] = read_judged(tmp_path / "a.jsonl")
    assert found == JudgedRollout(sample, Rollout.of_text("p", row["response"]), (verdict,))


def test_its_verdicts_in_jsonl_are_those_of_its_parquet_file() -> None:
    lines = [json.loads(line) for line in (OLD / "validate.jsonl").read_text().splitlines()]
    prompts = [json.loads(line)["prompt"] for line in (OLD / "prompts.jsonl").read_text().splitlines()]
    found = read_judged(OLD / "validate.parquet")
    for item, line in zip(found, lines, strict=True):
        row = verdict_row(item)
        assert row.pop("weights") == [1.0] * len(item.verdicts)  # which 0.1.0 did not write
        assert row | {"verdicts_loose": line["verdicts_loose"]} == line
    assert [item.sample.asked for item in found] == prompts[: len(found)]


def test_it_goes_on_as_a_discriminators_data_and_is_judged_again_alike(tmp_path: Path) -> None:
    found = read_judged(OLD / "window-000000.parquet")
    pairs = labelled_pairs(read_records(OLD / "window-000000.parquet"))
    assert len(pairs) == sum(
        verdict.met is not None and bool(item.rollout.answer) for item in found for verdict in item.verdicts
    )
    again = judge_again(RuleVerifier(workers=0), found)
    assert [item.as_desired for item in again] == [item.as_desired for item in found]
    write_completions(tmp_path / "again.parquet", again)
    assert read_judged(tmp_path / "again.parquet") == again


def test_a_judged_response_is_shown_in_one_short_line() -> None:
    sample = RubricSample("tea", ({"role": "user", "content": "x"},), (Criterion("It is so.", "x"),) * 3)
    rollout = Rollout.of_text("tea", "tea\n" * 99, sample_index=4)
    shown = repr(JudgedRollout(sample, rollout, (Verdict(True, ""), Verdict(None, ""), Verdict(False, ""))))
    assert shown.startswith("JudgedRollout('tea', sample 4: 1 of 3 criteria as desired, 1 undecided, 'tea\\ntea")
    assert len(shown) < 150


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_degree_and_a_confidence_are_shares(share: float) -> None:
    with pytest.raises(ValueError, match="value must be between 0 and 1, got"):
        Verdict(True, "", value=share)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got"):
        Verdict(True, "", confidence=share)
    with pytest.raises(ValueError, match="span_relevance must be between 0 and 1, got"):
        Verdict(True, "", ((0, 1),), span_relevance=(share,))


def test_each_span_has_its_relevance_or_none_has() -> None:
    with pytest.raises(ValueError, match="2 of span_relevance for 1 spans; give each one"):
        Verdict(True, "", ((0, 1),), span_relevance=(0.5, 1))
