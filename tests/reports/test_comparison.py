import math

import pytest
import torch

from rtt_lightning.cli import answer
from rtt_lightning.metrics import Accuracy
from rtt_lightning.reports.comparison import compare, paired_difference, summarize
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


def test_summary_by_hand(rows):
    summary = summarize(rows)
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


def test_accuracies_are_those_of_the_metrics(rows):
    summary = summarize(rows)
    verdicts = [[verdict.met for verdict in row.verdicts] for row in rows]
    met = torch.tensor([[value is True for value in row] for row in verdicts])
    scorable = torch.tensor([[value is not None for value in row] for row in verdicts])
    weights = torch.tensor([[criterion.weight for criterion in row.sample.criteria] for row in rows])
    metric = Accuracy()
    metric.update(met, scorable, weights)
    for name, value in metric.compute().items():
        assert summary[name] == pytest.approx(value.item())


def test_nothing_to_count_is_nan(judge):
    summary = summarize([judge("a", "word", [None])])
    for name in ("rubric_accuracy", "distinct_2", "distinct_2_per_response"):
        assert math.isnan(summary[name])
    assert "instruction_accuracy_wholly_decided" not in summary


@pytest.mark.parametrize(("metric", "expected"), [("rubric_accuracy", 0.25), ("instruction_accuracy", 0.5)])
def test_responses_are_paired_by_prompt_not_by_position(judge, metric, expected):
    # Every prompt alike: 2 of 4 criteria and 0 of 2 responses before, 3 of 4 and 1 of 2 after.
    before = [judge(p, "x", [True, False], sample_index=i) for p in "abcd" for i in range(2)]
    after = [judge(p, "x", [True, i == 0], sample_index=i) for p in "abcd" for i in range(2)]
    assert paired_difference(before, after[::-1], metric) == pytest.approx((expected, expected, expected))


@pytest.mark.parametrize("open_in", ["before", "after"])
def test_with_anything_undecided_bounds_are_compared(tmp_path, judge, open_in):
    """Of 2 prompts one fails before, and one is undecided in one of the files."""
    files, rows = {name: tmp_path / f"{name}.parquet" for name in ("before", "after")}, {}
    for name, first in (("before", False), ("after", True)):
        rows[name] = [judge("a", "x", [first]), judge("b", "x", [None if name == open_in else True])]
        write_completions(files[name], rows[name])
    found = compare(**files)
    assert not any("instruction_accuracy" in part for part in found.values())
    before, after = found["before"], found["after"]
    bounds = [[part[f"instruction_accuracy_{end}_bound"] for end in ("lower", "upper")] for part in (before, after)]
    assert bounds == {"before": [[0, 0.5], [1, 1]], "after": [[0.5, 0.5], [0.5, 1]]}[open_in]
    assert found["difference"]["instruction_accuracy_lower_bound"][0] == bounds[1][0] - bounds[0][0]
    with pytest.raises(ValueError, match="some criteria are undecided; compare instruction_accuracy_lower"):
        paired_difference(rows["before"], rows["after"], "instruction_accuracy")


def test_where_all_is_decided_the_accuracy_is_compared(tmp_path, judge):
    files = {name: tmp_path / f"{name}.parquet" for name in ("before", "after")}
    for name, met in (("before", False), ("after", True)):
        write_completions(files[name], [judge("a", "x", [met]), judge("b", "x", [True])])
    found = compare(**files)
    assert (found["before"]["instruction_accuracy"], found["after"]["instruction_accuracy"]) == (0.5, 1.0)
    assert set(found["difference"]) == {"rubric_accuracy", "instruction_accuracy"}
    assert not any(name.endswith("_bound") for name in found["before"])


def test_the_command_shows_differences_with_their_intervals(tmp_path, judge, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    files = [tmp_path / f"{name}.parquet" for name in ("validate", "validate-000002")]
    for path, met in zip(files, (False, True), strict=True):
        write_completions(path, [judge("a", "x", [met]), judge("b", "x", [True])])
    answer(["compare", *map(str, files)])
    shown = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "rubric_accuracy" in line]
    assert [cell.strip() for cell in shown[0][:3]] == ["rubric_accuracy", "0.500", "1.000"]
    assert shown[0][3].strip().startswith("+0.500 (")


def test_errors_say_what_is_wrong(judge):
    one, other = [judge("a", "x", [True])], [judge("b", "x", [True])]
    with pytest.raises(ValueError, match="2 ids are in only one"):
        paired_difference(one, other, "rubric_accuracy")
    with pytest.raises(ValueError, match="unknown metric 'reward'"):
        paired_difference(one, one, "reward")
