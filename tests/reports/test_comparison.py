import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rtt_lightning.metrics import InstructionAccuracy, RubricAccuracy
from rtt_lightning.reports.comparison import accuracy_by_kind, compare, paired_difference, read_completions, summarize
from rtt_lightning.reports.completions import write_completions


@pytest.fixture
def rows(judge):
    return [
        judge("a", "the cat the cat", [True, True]),  # passes
        judge("a", "the cat", [True, False], sample_index=1),  # fails
        judge("b", "one", [True, None], finish_reason="length"),  # undecided
        judge("c", "two dogs", [True, False], weights=[1.0, -2.0]),  # passes: the unwanted criterion is not met
        judge("d", "", [None, False]),  # fails whatever the first is
    ]


def test_summary_by_hand(tmp_path, rows):
    write_completions(tmp_path / "x.parquet", rows)
    summary = summarize(tmp_path / "x.parquet")
    # Criteria as desired: 2 + 1 + 1 + 2 + 0 = 6 of 2 + 2 + 1 + 2 + 1 = 8 scorable ones, 10 in all.
    assert summary["rubric_accuracy"] == pytest.approx(6 / 8)
    assert summary["unscorable"] == pytest.approx(2 / 10)
    # Passed: rows 0 and 3; known to fail: rows 1 and 4; not wholly decided: rows 2 and 4.
    assert "instruction_accuracy" not in summary
    assert summary["instruction_accuracy_lower_bound"] == pytest.approx(2 / 5)
    assert summary["instruction_accuracy_upper_bound"] == pytest.approx(3 / 5)
    assert summary["instruction_accuracy_wholly_decided"] == pytest.approx(2 / 3)
    assert summary["length"] == pytest.approx((15 + 7 + 3 + 8 + 0) / 5)
    # Bigrams: the-cat, cat-the, the-cat | the-cat | | two-dogs | : 5 in all, 3 distinct; 2/3, 1, 1 per response.
    assert summary["distinct_2"] == pytest.approx(3 / 5)
    assert summary["distinct_2_per_response"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert summary["truncated"] == pytest.approx(1 / 5)
    assert (summary["responses"], summary["prompts"]) == (5, 4)


def test_accuracies_are_those_of_the_metrics(tmp_path, rows):
    write_completions(tmp_path / "x.parquet", rows)
    summary = summarize(tmp_path / "x.parquet")
    verdicts = [[verdict.met for verdict in row.verdicts] for row in rows]
    met = torch.tensor([[value is True for value in row] for row in verdicts])
    scorable = torch.tensor([[value is not None for value in row] for row in verdicts])
    weights = torch.tensor([[criterion.weight for criterion in row.sample.criteria] for row in rows])
    rubric, instruction = RubricAccuracy(), InstructionAccuracy()
    for metric in (rubric, instruction):
        metric.update(met, scorable, weights)
    for name, value in (("rubric_accuracy", rubric.compute()), *instruction.compute().items()):
        assert summary[name] == pytest.approx(value.item())


def test_nothing_to_count_is_nan(tmp_path, judge):
    write_completions(tmp_path / "x.parquet", [judge("a", "word", [None])])
    summary = summarize(tmp_path / "x.parquet")
    for name in ("rubric_accuracy", "distinct_2", "distinct_2_per_response"):
        assert math.isnan(summary[name])
    assert "instruction_accuracy_wholly_decided" not in summary


def test_accuracy_by_kind(tmp_path, rows):
    write_completions(tmp_path / "x.parquet", rows)
    kinds = accuracy_by_kind(read_completions(tmp_path / "x.parquet"))
    assert kinds == {"rtt:kind0": (1.0, 4), "rtt:kind1": (0.5, 4)}


@pytest.mark.parametrize(("metric", "expected"), [("rubric_accuracy", 0.25), ("instruction_accuracy", 0.5)])
def test_difference_of_a_constant_gain_has_no_width(tmp_path, judge, metric, expected):
    # Every prompt alike: 2 of 4 criteria and 0 of 2 responses before, 3 of 4 and 1 of 2 after.
    before = [judge(p, "x", [True, False], sample_index=i) for p in "abcd" for i in range(2)]
    after = [judge(p, "x", [True, i == 0], sample_index=i) for p in "abcd" for i in range(2)]
    write_completions(tmp_path / "before.parquet", before)
    write_completions(tmp_path / "after.parquet", after[::-1])  # paired by prompt, not by position
    difference = paired_difference(tmp_path / "before.parquet", tmp_path / "after.parquet", metric)
    assert difference == pytest.approx((expected, expected, expected))


def test_interval_is_that_of_the_resampled_mean(tmp_path, judge):
    # 100 prompts of one criterion: 30 gain, 10 lose, 60 stay. Mean 0.2, variance 0.4 - 0.04 = 0.36, so the standard
    # error is 0.06 and the 95 % interval about 0.2 -+ 1.96 * 0.06.
    old = [10 <= i < 50 or i < 10 for i in range(100)]  # met: 0..49
    new = [10 <= i < 80 for i in range(100)]  # 0..9 lost, 50..79 gained
    for name, met in (("before", old), ("after", new)):
        write_completions(tmp_path / f"{name}.parquet", [judge(f"p{i}", "x", [m]) for i, m in enumerate(met)])
    files = tmp_path / "before.parquet", tmp_path / "after.parquet"
    mean, low, high = paired_difference(*files, "rubric_accuracy")
    assert mean == pytest.approx(0.2)
    assert low == pytest.approx(0.2 - 1.96 * 0.06, abs=0.015)
    assert high == pytest.approx(0.2 + 1.96 * 0.06, abs=0.015)
    assert paired_difference(*files, "rubric_accuracy") == (mean, low, high)  # seeded
    assert paired_difference(*files[::-1], "rubric_accuracy") == pytest.approx((-mean, -high, -low), abs=1e-9)


def test_unscorable_prompts_take_no_part(tmp_path, judge):
    write_completions(tmp_path / "before.parquet", [judge("a", "x", [False]), judge("b", "x", [None])])
    write_completions(tmp_path / "after.parquet", [judge("a", "x", [True]), judge("b", "x", [None])])
    found = paired_difference(tmp_path / "before.parquet", tmp_path / "after.parquet", "rubric_accuracy")
    assert found == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("open_in", ["before", "after"])
def test_with_anything_undecided_bounds_are_compared(tmp_path, judge, open_in):
    """Of 2 prompts one fails before, and one is undecided in one of the files."""
    files = {name: tmp_path / f"{name}.parquet" for name in ("before", "after")}
    for name, first in (("before", False), ("after", True)):
        second = None if name == open_in else True
        write_completions(files[name], [judge("a", "x", [first]), judge("b", "x", [second])])
    found = compare(**files)
    assert not any("instruction_accuracy" in part for part in found.values())
    before, after = found["before"], found["after"]
    bounds = [[part[f"instruction_accuracy_{end}_bound"] for end in ("lower", "upper")] for part in (before, after)]
    assert bounds == {"before": [[0, 0.5], [1, 1]], "after": [[0.5, 0.5], [0.5, 1]]}[open_in]
    assert found["difference"]["instruction_accuracy_lower_bound"][0] == bounds[1][0] - bounds[0][0]
    with pytest.raises(
        ValueError, match=f"{open_in}.parquet holds? undecided criteria; compare instruction_accuracy_l"
    ):
        paired_difference(*files.values(), "instruction_accuracy")


def test_where_all_is_decided_the_accuracy_is_compared(tmp_path, judge):
    files = {name: tmp_path / f"{name}.parquet" for name in ("before", "after")}
    for name, met in (("before", False), ("after", True)):
        write_completions(files[name], [judge("a", "x", [met]), judge("b", "x", [True])])
    found = compare(**files)
    assert (found["before"]["instruction_accuracy"], found["after"]["instruction_accuracy"]) == (0.5, 1.0)
    assert set(found["difference"]) == {"rubric_accuracy", "instruction_accuracy"}
    assert not any(name.endswith("_bound") for name in found["before"])


@pytest.mark.parametrize("met", [False, True])
def test_no_change_of_a_share_at_its_end_is_known_only_as_far_as_prompts_go(tmp_path, judge, met):
    for name in ("before", "after"):
        write_completions(tmp_path / f"{name}.parquet", [judge(f"p{n}", "x", [met]) for n in range(30) for _ in "12"])
    found = paired_difference(tmp_path / "before.parquet", tmp_path / "after.parquet", "instruction_accuracy")
    reach = 1 - 0.025 ** (1 / 30)
    assert found == pytest.approx((0, -reach, reach))


def test_errors_say_what_is_wrong(tmp_path, judge):
    for name in "ab":
        write_completions(tmp_path / f"{name}.parquet", [judge(name, "x", [True])])
    with pytest.raises(ValueError, match="2 ids stand in only one"):
        paired_difference(tmp_path / "a.parquet", tmp_path / "b.parquet", "rubric_accuracy")
    with pytest.raises(ValueError, match="unknown metric 'reward'"):
        paired_difference(tmp_path / "a.parquet", tmp_path / "a.parquet", "reward")
    with pytest.raises(ValueError, match="no completions at"):
        summarize(tmp_path / "missing.parquet")
    pq.write_table(pa.table({"id": ["a"], "messages": ["b"]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="lacks the columns criteria, response"):
        summarize(tmp_path / "other.parquet")
    pq.write_table(pq.read_table(tmp_path / "a.parquet").slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match="holds no completions"):
        summarize(tmp_path / "empty.parquet")
