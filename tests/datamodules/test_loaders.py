"""Loaders: sized, stateful, and windows that fit accumulation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.datamodules import LabelledPairs, PromptWindows
from rtt_lightning.datamodules.loaders import Share, StatefulLoader
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.datamodules.records import Record
from rtt_lightning.types import JudgedRollout, Rollout, Verdict

RECORDS = [Record(sample) for sample in sample_prompts(10, seed=0, kinds=TRAIN_KINDS)]


def labelled() -> list[Record]:
    return [
        Record(sample, JudgedRollout(sample, Rollout.of_text(sample.id, f"response {i}"), verdicts))
        for i, sample in enumerate(record.sample for record in RECORDS)
        for verdicts in [(Verdict(True, "", ((0, 3),)),) * len(sample.criteria)]
    ]


@given(stop=st.integers(0, 23))
def test_a_resumed_loader_goes_on_where_it_stopped(stop: int) -> None:
    def batches(loader, count: int) -> list:
        found = []
        while len(found) < count:
            for batch in loader:
                found.append(batch)
                if len(found) == count:
                    break
        return found

    def make():
        return PromptWindows(prompts=3, updates=2).train_loader(RECORDS, accumulate=2, seed=5)

    whole = batches(make(), 24)
    first, second = make(), make()
    head = batches(first, stop) if stop else []
    second.load_state_dict(first.state_dict())
    assert head + batches(second, 24 - stop) == whole


WINDOWS = {"prompts": 2, "updates": 1}


@pytest.mark.parametrize(
    ("changed", "accumulate", "records", "reason"),
    [
        ({"prompts": 3}, 2, 10, "with prompts per window 2, this run with prompts per window 3"),
        ({"updates": 2}, 2, 10, "with updates per window 1, this run with updates per window 2"),
        ({}, 4, 10, "with micro-batches per update 2, this run with micro-batches per update 4"),
        ({}, 2, 8, "with training prompts 10, this run with training prompts 8"),
    ],
)
def test_a_state_that_counts_otherwise_is_refused(
    changed: dict[str, int], accumulate: int, records: int, reason: str
) -> None:
    state = PromptWindows(**WINDOWS).train_loader(RECORDS, accumulate=2, seed=0).state_dict()
    other = PromptWindows(**{**WINDOWS, **changed}).train_loader(RECORDS[:records], accumulate, seed=0)
    with pytest.raises(ValueError, match=f"place in the training data {reason}; resume with the former"):
        other.load_state_dict(state)


def test_pairs_shared_by_more_processes_are_refused_unless_as_many_are_taken_at_a_time() -> None:
    def loader(batch_size: int, ranks: int) -> StatefulLoader:
        return LabelledPairs(batch_size).train_loader(labelled(), accumulate=1, seed=0, share=Share(0, ranks))

    state = loader(4, 1).state_dict()
    loader(2, 2).load_state_dict(state)
    with pytest.raises(ValueError, match=r"pairs per micro-batch of all processes 4, this run with .* 8"):
        loader(4, 2).load_state_dict(state)


def test_a_window_comes_as_accumulate_times_updates_micro_batches() -> None:
    loader = PromptWindows(prompts=3, updates=2).train_loader(RECORDS, accumulate=4, seed=0)
    batches = list(loader)
    assert len(loader) == len(batches) == 3 * 8  # 10 prompts fill 3 windows of 3
    assert [b["micro_batch"] for b in batches[:8]] == list(range(8))
    prompts = [tuple(b["prompts"]) for b in batches]
    assert prompts[0] == prompts[7] != prompts[8]
    assert len({p for w in set(prompts) for p in w}) == 9


def test_windows_are_numbered_through_the_epochs_and_shuffled_anew() -> None:
    loader = PromptWindows(prompts=5).train_loader(RECORDS, accumulate=1, seed=0)
    first, second = list(loader), list(loader)
    assert [b["window"] for b in first + second] == [0, 1, 2, 3]
    assert [b["prompts"] for b in first] != [b["prompts"] for b in second]


def test_evaluation_shows_every_prompt_once_in_order() -> None:
    batches = list(PromptWindows(eval_prompts=4).eval_loader(RECORDS, "val"))
    assert [i for b in batches for i in b["prompts"]] == list(range(10))


def test_every_pair_is_seen_once_an_epoch_with_its_whole_update() -> None:
    records = labelled()
    total = sum(len(r.sample.criteria) for r in records)
    batches = list(LabelledPairs(batch_size=4).train_loader(records, accumulate=3, seed=0))
    assert sum(len(b["pairs"]) for b in batches) == total
    firsts = [number for number, b in enumerate(batches) if "update" in b]
    assert firsts == list(range(0, len(batches), 3))
    for first in firsts:
        assert batches[first]["update"] == [b["pairs"] for b in batches[first : first + 3]]
