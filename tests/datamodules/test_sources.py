"""Where records come from, and splits that share no prompt."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.datamodules import (
    ConstraintPrompts,
    LabelledPairs,
    PromptWindows,
    RecordFiles,
    RecordSource,
    RubricDataModule,
)
from rtt_lightning.datamodules.prompt_sampler import HELD_OUT_KINDS, TRAIN_KINDS
from rtt_lightning.datamodules.records import Record
from rtt_lightning.datamodules.sources import SPLITS, Split
from rtt_lightning.types.errors import UserError

CRITERIA = [{"text": "Use tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}]


def write(path: Path, prompts: list[str]) -> str:
    rows = [{"prompt": prompt, "criteria": CRITERIA} for prompt in prompts]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def prompts_of(records: list[Record]) -> list[str]:
    return [record.sample.messages[0]["content"] for record in records]


def load(source: RecordSource, split: Split, **arguments: Any) -> list[Record]:
    data = RubricDataModule(source, **arguments)
    return data._read(split)


def test_each_split_has_its_file(tmp_path: Path) -> None:
    files = {split: write(tmp_path / f"{split}.jsonl", [split]) for split in SPLITS}
    assert [prompts_of(load(RecordFiles(**files), split)) for split in SPLITS] == [["train"], ["val"], ["test"]]


def test_a_split_without_a_file_is_empty(tmp_path: Path) -> None:
    source = RecordFiles(train=write(tmp_path / "a.jsonl", ["x"]))
    assert load(source, "val") == load(source, "test") == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_prompts_is_held_out_for_validation(tmp_path: Path, share: float) -> None:
    source = RecordFiles(write(tmp_path / "a.jsonl", [f"prompt {i}" for i in range(1000)]))
    train, val = (prompts_of(load(source, split, val_share=share)) for split in ("train", "val"))
    assert sorted(train + val) == sorted(f"prompt {i}" for i in range(1000))
    assert abs(len(val) / 1000 - share) < 0.06  # about four standard deviations of a binomial
    assert load(source, "test", val_share=share) == []


def test_the_side_of_a_prompt_depends_on_its_text_alone(tmp_path: Path) -> None:
    prompts = [f"prompt {i}" for i in range(100)]
    source = RecordFiles(write(tmp_path / "a.jsonl", prompts))
    other = RecordFiles(write(tmp_path / "b.jsonl", [*prompts[::-1], *prompts, "more"]))
    for split in ("train", "val"):
        ours, theirs = (set(prompts_of(load(one, split, val_share=0.5))) for one in (source, other))
        assert theirs - {"more"} == ours


def test_a_discriminator_validates_on_prompts_that_its_policy_trained_on(tmp_path: Path) -> None:
    """Of the policy's training prompts, which its responses are to, another share is held out."""
    source = RecordFiles(write(tmp_path / "a.jsonl", [f"prompt {i}" for i in range(400)]))
    trained = prompts_of(load(source, "train", val_share=0.2, view=PromptWindows()))
    responses = RecordFiles(write(tmp_path / "b.jsonl", trained))
    held_out = prompts_of(load(responses, "val", val_share=0.2, view=LabelledPairs()))
    assert 0.1 < len(held_out) / len(trained) < 0.3


def test_a_small_share_of_few_prompts_holds_out_one_of_them(tmp_path: Path) -> None:
    source = RecordFiles(write(tmp_path / "a.jsonl", [f"prompt {i}" for i in range(8)]))
    train, val = (prompts_of(load(source, split, val_share=0.0001)) for split in ("train", "val"))
    assert (len(train), len(val)) == (7, 1)


def test_a_share_that_leaves_a_split_empty_is_refused(tmp_path: Path) -> None:
    source = RecordFiles(write(tmp_path / "a.jsonl", ["one"]))
    with pytest.raises(ValueError, match=r"data.val_share 0.0001 of 1 prompt leaves none for 'val'"):
        load(source, "val", val_share=0.0001)
    with pytest.raises(ValueError, match=r"data.val_share 0.9999 of 1 prompt leaves none for 'train'"):
        load(source, "train", val_share=0.9999)


@pytest.mark.parametrize("share", [2.0, 1.0, -0.1])
def test_a_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"data.val_share must be in \[0, 1\)"):
        RubricDataModule(val_share=share)


def test_a_share_beside_validation_rows_is_refused(tmp_path: Path) -> None:
    source = RecordFiles(*(write(tmp_path / name, ["x"]) for name in ("a.jsonl", "b.jsonl")))
    with pytest.raises(ValueError, match=r"the source has validation rows: set data.val_share 0"):
        load(source, "train", val_share=0.1)


def test_parquet_holds_the_same_records_as_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["one 🦆", "two"])
    rows = [{"prompt": prompt, "criteria": json.dumps(CRITERIA)} for prompt in ("one 🦆", "two")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    from_jsonl, from_parquet = load(RecordFiles(path), "train"), load(RecordFiles(str(tmp_path / "a.parquet")), "train")
    assert [r.sample.criteria for r in from_parquet] == [r.sample.criteria for r in from_jsonl]
    assert prompts_of(from_parquet) == prompts_of(from_jsonl)
    assert [r.sample.id for r in from_parquet] == ["a.parquet:1", "a.parquet:2"]


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", b"\xff\xfe{}"),
    ("a.parquet", b"not parquet at all"),
])  # fmt: skip
def test_a_file_of_other_bytes_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        load(RecordFiles(str(tmp_path / name)), "train")


def test_half_a_character_is_refused_by_line(tmp_path: Path) -> None:
    """JSON can spell it, but no tokenizer takes it; both halves together are a duck."""
    path = write(tmp_path / "a.jsonl", ["whole \U0001f986", "half \ud83e"])
    with pytest.raises(ValueError, match=r"1 of 2 rows .*\n  line 2: not JSON: \\ud83e is half a character"):
        load(RecordFiles(path), "train")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_splits_of_the_built_in_prompts_are_disjoint(train: int, val: int, test: int, seed: int) -> None:
    source = ConstraintPrompts(train=train, val=val, test=test, seed=seed)
    splits = [[record.sample.id for record in load(source, split)] for split in ("train", "val", "test")]
    assert [len(split) for split in splits] == [train, val, test]
    assert len(set().union(*splits)) == train + val + test


def test_test_prompts_may_have_kinds_of_their_own() -> None:
    source = ConstraintPrompts(train=50, val=0, test=50, test_kinds=HELD_OUT_KINDS)
    kinds = {
        split: {c.checker for record in load(source, split) for c in record.sample.criteria}
        for split in ("train", "test")
    }
    assert kinds["test"] - {"rtt:include_word"} == set(HELD_OUT_KINDS)  # each prompt also demands its topic
    assert kinds["train"] <= set(TRAIN_KINDS)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="train, val and test must be >= 0, got 4, -1, 0"):
        ConstraintPrompts(train=4, val=-1)


def test_validation_may_hold_prompts_of_kinds_that_training_has_not() -> None:
    source = ConstraintPrompts(train=4, val=3, test=2, unseen=5)
    splits = {split: load(source, split) for split in SPLITS}
    assert [len(splits[split]) for split in SPLITS] == [4, 8, 2]
    assert splits["val"][:3] == load(ConstraintPrompts(train=4, val=3, test=2), "val")
    kinds = [{c.checker for c in record.sample.criteria} & {*HELD_OUT_KINDS} for record in splits["val"]]
    assert [bool(found) for found in kinds] == [False] * 3 + [True] * 5
    ids = [record.sample.id for records in splits.values() for record in records]
    assert len({*ids}) == len(ids) == 14
    assert len(load(ConstraintPrompts(train=4, val=0, unseen=2), "val")) == 2
    with pytest.raises(UserError, match="unseen is the number of validation prompts to add, at least 0, got -1"):
        ConstraintPrompts(unseen=-1)
