"""Prompts without one criterion, whose rubric keeps it."""

import pytest

from rtt_lightning.annotation.withheld import withhold
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.datamodules.records import Record
from rtt_lightning.types import RubricSample
from rtt_lightning.types.asked import MARK
from rtt_lightning.types.errors import UserError

RECORDS = [Record(sample) for sample in sample_prompts(12, seed=0, kinds=TRAIN_KINDS)]


def test_what_was_never_asked_for_stays_so() -> None:
    records = [Record(sample) for sample in sample_prompts(12, seed=0, kinds=TRAIN_KINDS, withheld=3)]
    for old, new in zip(records, withhold(records, 12), strict=True):
        place = int(new.sample.id.rpartition(MARK)[2]) - 1
        assert place < len(old.sample.criteria) - 3
        assert old.sample.text.replace(f" {old.sample.criteria[place].text}", "", 1) == new.sample.text


def test_so_many_prompts_are_changed_always_the_same_ones() -> None:
    found = withhold(RECORDS, 5)
    changed = [(old, new) for old, new in zip(RECORDS, found, strict=True) if old != new]
    assert len(changed) == 5
    assert found == withhold(RECORDS, 5)
    for old, new in changed:
        place = int(new.sample.id.rpartition(MARK)[2]) - 1
        assert new.sample.criteria == old.sample.criteria
        assert old.sample.text.replace(f" {old.sample.criteria[place].text}", "", 1) == new.sample.text


def test_prompts_whose_task_is_not_apart_are_named() -> None:
    plain = [
        Record(RubricSample(f"{n}", ({"role": "user", "content": "x"},), RECORDS[0].sample.criteria)) for n in (1, 2)
    ]
    with pytest.raises(UserError, match=r"--withheld 3 .* and 2 of 4 say .* rows need the field `task`"):
        withhold([*plain, *RECORDS[:2]], 3)
