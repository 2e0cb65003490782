"""What a batch is: windows of prompts for a policy, labelled pairs for a discriminator."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.datamodules import LabelledPairs, LabelledResponses, PromptWindows
from rtt_lightning.datamodules.loaders import Share
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.datamodules.records import Record
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

RECORDS = [Record(sample) for sample in sample_prompts(12, seed=0, kinds=TRAIN_KINDS)]


def record(response: str | None, *verdicts: Verdict) -> Record:
    criteria = tuple(Criterion(f"criterion {k}", "rtt:question") for k in range(max(1, len(verdicts))))
    sample = RubricSample("p", ({"role": "user", "content": "x"},), criteria)
    return Record(sample, None if response is None else JudgedRollout(sample, Rollout.of_text("p", response), verdicts))


def pairs(count: int) -> list[Record]:
    return [record(f"response {i}", Verdict(True, "", ((0, i),))) for i in range(count)]


def responses_of(batches: Iterable[Any]) -> list[str]:
    return [pair["response"] for batch in batches for pair in batch["pairs"]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_each_prompt_comes_once_an_epoch_in_another_order(
    prompts: int, updates: int, accumulate: int, seed: int
) -> None:
    updates = min(updates, prompts)
    loader = PromptWindows(prompts, updates).train_loader(RECORDS, accumulate, seed)
    orders = []
    for epoch in range(2):
        batches = list(loader)
        windows = len(RECORDS) // prompts
        assert len(batches) == len(loader) == windows * accumulate * updates
        counts = Counter(batch["window"] for batch in batches)
        assert counts == dict.fromkeys(range(epoch * windows, (epoch + 1) * windows), accumulate * updates)
        firsts = [batch for batch in batches if batch["micro_batch"] == 0]
        orders.append([index for batch in firsts for index in batch["prompts"]])
        assert len(set(orders[-1])) == len(orders[-1]) == windows * prompts
    assert orders[0] != orders[1]


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_an_iteration_that_is_not_run_dry_is_followed_by_a_whole_epoch(taken: int) -> None:
    """The trainer takes as many batches as the length says, or as a limit allows, and never asks for one more."""
    view = PromptWindows(prompts=4, eval_prompts=4)
    training, evaluation = view.train_loader(RECORDS, accumulate=1, seed=0), view.eval_loader(RECORDS, "val")
    assert [batch["window"] for batch in islice(training, taken)] == list(range(taken))
    assert [batch["window"] for batch in training] == [3, 4, 5]
    for _ in range(2):
        assert [batch["prompts"][0] for batch in islice(evaluation, taken)] == [0, 4, 8][:taken]


def test_over_epochs_no_prompt_is_left_out_for_good() -> None:
    """12 prompts in windows of 5 leave 2 out of each epoch: not always the same ones."""
    loader = PromptWindows(prompts=5).train_loader(RECORDS, accumulate=1, seed=0)
    seen = {index for _ in range(6) for batch in loader for index in batch["prompts"]}
    assert seen == set(range(12))


def test_another_seed_gives_another_order() -> None:
    first, second = (PromptWindows(prompts=12).train_loader(RECORDS, 1, seed) for seed in (0, 1))
    assert next(iter(first))["prompts"] != next(iter(second))["prompts"]


@pytest.mark.parametrize("arguments", [{"prompts": 0}, {"updates": 0}, {"eval_prompts": -1}])
def test_sizes_below_one_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"prompts, updates and eval_prompts must be >= 1, got"):
        PromptWindows(**arguments)


@pytest.mark.parametrize(("prompts", "updates", "ranks", "enough"), [(2, 3, 1, 3), (4, 3, 2, 5), (2, 2, 2, 3)])
def test_an_update_that_no_process_has_a_prompt_for_is_refused(
    prompts: int, updates: int, ranks: int, enough: int
) -> None:
    with pytest.raises(ValueError, match=f"leaves some of its {updates} updates without one"):
        PromptWindows(prompts, updates).train_loader(RECORDS, 1, 0, Share(0, ranks))
    PromptWindows(enough, updates).train_loader(RECORDS, 1, 0, Share(0, ranks))


def test_a_process_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves some of 4 processes without one; raise prompts"):
        PromptWindows(prompts=3).train_loader(RECORDS, 1, 0, Share(0, 4))


def test_data_that_do_not_fill_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match="12 training prompts do not fill a window of 13; lower prompts"):
        PromptWindows(prompts=13).train_loader(RECORDS, accumulate=1, seed=0)


def test_unscorable_verdicts_and_unknown_spans_are_no_pairs() -> None:
    kept = Verdict(False, "", (), polarity="negative")
    mixed = record("yes", Verdict(True, "", ((0, 3),)), Verdict.unscorable("down"), Verdict(True, "", None), kept)
    common = {"prompt_id": mixed.sample.id, "response": "yes", "checker": "rtt:question"}
    assert labelled_pairs([mixed, record(None), record("", kept)]) == [
        common | {"criterion": "criterion 0", "spans": ((0, 3),), "scope": "local", "polarity": "positive"},
        common | {"criterion": "criterion 3", "spans": (), "scope": "local", "polarity": "negative"},
    ]


def test_the_label_of_a_global_criterion_is_the_whole_response() -> None:
    counted, unmet = Verdict(True, "", ((0, 1),), scope="global"), Verdict(False, "", (), scope="global")
    pairs = labelled_pairs([record("tea, tea", counted, unmet, Verdict(True, "", None, scope="global"))])
    assert [pair["spans"] for pair in pairs] == [((0, 8),)] * 3


@pytest.mark.parametrize("records", [RECORDS, [record("yes", Verdict.unscorable("down"))]])
def test_data_without_a_pair_are_refused_with_the_way_to_some(records: list[Record]) -> None:
    for make in (lambda view: view.train_loader(records, 1, 0), lambda view: view.eval_loader(records, "val")):
        with pytest.raises(ValueError, match=r"none of the \d+ records holds .* make some with `rtt predict`"):
            make(LabelledPairs())


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        LabelledPairs(batch_size=0)


def test_uniform_pairs_are_thinned_in_training_alone() -> None:
    spans = {"none": (), "mixed": ((0, 3),), "all": ((0, 3), (3, 8))}
    records = [record(name.ljust(8), Verdict(True, "", spans[name])) for name in spans for _ in range(10)]

    def responses(share: float, seed: int = 0) -> list[str]:
        loader = LabelledPairs(4, uniform_share=share).train_loader(records, 1, seed)
        epochs = [[response.strip() for response in responses_of(loader)] for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1])  # the same pairs in every epoch
        return epochs[0]

    assert [responses(1.0).count(name) for name in spans] == [10, 10, 10]
    kept = [responses(0.3, seed).count("none") for seed in range(5)]
    assert [len(responses(0.3, seed)) for seed in range(5)] == [16] * 5
    assert len(set(kept)) > 1
    assert set(responses(0.0)) == {"mixed"}
    evaluated = LabelledPairs(4, uniform_share=0.0).eval_loader(records, "val")
    assert len(responses_of(evaluated)) == 30


def test_no_pair_left_and_a_share_beyond_one_are_refused() -> None:
    uniform = [record("yes", Verdict(True, "", ((0, 3),)))] * 4
    with pytest.raises(ValueError, match=r"all 4 pairs are uniform, and a uniform_share of 0\.1 keeps none; raise it"):
        LabelledPairs(uniform_share=0.1).train_loader(uniform, 1, seed=0)
    with pytest.raises(ValueError, match=r"uniform_share must be between 0 and 1, got 1\.5"):
        LabelledPairs(uniform_share=1.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_each_pair_comes_once_an_epoch_and_in_the_update_of_its_batch(count: int, size: int, accumulate: int) -> None:
    loader = LabelledPairs(size).train_loader(pairs(count), accumulate, seed=0)
    for _ in range(2):
        batches = list(loader)
        assert (
            len(batches) == len(loader) == -(-count // size)
        )  # the last update may be short, its batches are not empty
        assert sorted(responses_of(batches)) == sorted(f"response {i}" for i in range(count))
        for first in range(0, len(batches), accumulate):
            together = batches[first : first + accumulate]
            assert together[0]["update"] == [batch["pairs"] for batch in together]
            assert not any("update" in batch for batch in together[1:])


def test_pairs_are_shuffled_anew_and_evaluated_in_order() -> None:
    loader = LabelledPairs(20).train_loader(pairs(20), 1, seed=0)
    [first], [second] = list(loader), list(loader)
    assert responses_of([first]) != responses_of([second])
    batches = list(LabelledPairs(8).eval_loader(pairs(20), "val"))
    assert [len(batch["pairs"]) for batch in batches] == [8, 8, 4]
    assert responses_of(batches) == [f"response {i}" for i in range(20)]


def test_the_pairs_of_a_response_stay_together() -> None:
    rows = [record(f"response {i}", *[Verdict(True, "", ((0, 1),))] * (1 + i % 3)) for i in range(9)]
    loader = LabelledResponses(2).train_loader(rows, 2, seed=0)
    batches = list(loader)
    assert [len(set(responses_of([batch]))) for batch in batches] == [2, 2, 2, 2, 1]
    assert Counter(responses_of(batches)) == {f"response {i}": 1 + i % 3 for i in range(9)}
    for first in (0, 2, 4):
        assert batches[first]["update"] == [batch["pairs"] for batch in batches[first : first + 2]]
    assert len(list(LabelledResponses(4).eval_loader(rows, "val"))) == 3
