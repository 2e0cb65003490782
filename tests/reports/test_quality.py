"""The numbers of a discriminator by group, their table, and the page about them."""

import json

import pytest
import torch

from rtt_lightning.functional.quality import CONSTANT
from rtt_lightning.reports.evaluation import with_null
from rtt_lightning.reports.quality import measure, show_faithfulness, show_quality
from rtt_lightning.reports.quality_page import quality_page
from rtt_lightning.rollout.weighed import WeighedPair
from rtt_lightning.types import Polarity, Scope
from rtt_lightning.types.batches import Pair

HOSTILE = "<script>alert(1)</script>[red]"


def cell(
    prompt: int, p: list[float], labels: list[int], kind: str, scope: Scope = "local", polarity: Polarity = "positive"
) -> WeighedPair:
    pair = Pair(
        prompt_id=str(prompt), criterion=f"criterion{HOSTILE}", response=f"response {prompt}", spans=(), checker=kind,
        scope=scope, polarity=polarity,
    )  # fmt: skip
    offsets = torch.tensor([(i, i + 1) for i in range(len(p))])
    return WeighedPair(pair, torch.tensor(p), torch.tensor(labels).bool(), offsets)


@pytest.fixture
def cells() -> list[WeighedPair]:
    """A word that is found, a forbidden one that is found last, and a length; of one cell nothing was read."""
    found = [cell(i, [0.9, 0.2, 0.1, 0.1], [1, 0, 0, 0], "rtt:include_word") for i in range(6)]
    found += [cell(i, [0.2, 0.3, 0.4, 0.6], [1, 0, 0, 0], HOSTILE, polarity="negative") for i in range(4)]
    return [*found, cell(0, [0.95] * 3, [1] * 3, "rtt:length", "global"), cell(9, [], [], "rtt:length", "global")]


def test_groups_are_measured_by_themselves(cells: list[WeighedPair]) -> None:
    found = measure(cells, {"rtt:include_word", "rtt:length"})
    assert found["overall"]["average_precision_per_cell"]["mean"] == pytest.approx((6 * 1 + 4 * 0.25) / 10)
    assert (found["overall"]["prompts"], found["overall"]["cells"], found["overall"]["mixed_cells"]) == (7, 12, 10)
    assert found["scopes"].keys() == {"global positive", "local negative", "local positive"}
    assert found["kinds"]["rtt:include_word"]["average_precision_per_cell"]["mean"] == 1
    unseen = (found["trained"]["unseen"], found["kinds"][HOSTILE], found["scopes"]["local negative"])
    assert len({json.dumps(each) for each in unseen}) == 1
    assert found["trained"]["seen"]["cells"] == 8
    whole = found["kinds"]["rtt:length"]
    assert whole["average_precision"]["mean"] != whole["average_precision"]["mean"]  # nothing to rank
    assert [row["tokens"] for row in whole["reliability"]] == [0] * 9 + [3]
    assert whole["reliability"][9]["relevant"] == 1
    assert "trained" not in measure(cells, None)


def test_intervals_hold_the_mean_and_do_not_depend_on_the_order_of_cells(cells: list[WeighedPair]) -> None:
    found = measure(cells, None)
    assert json.dumps(measure(cells[::-1], None)) == json.dumps(found)
    for name in ("average_precision_per_cell", "average_precision", "f1", "brier", "calibration_error"):
        interval = found["overall"][name]
        assert 0 <= interval["low"] < interval["mean"] < interval["high"] <= 1


def test_the_pooled_ranking_is_that_of_all_tokens(cells: list[WeighedPair]) -> None:
    """0.9 six times, relevant; 0.6, 0.4 and 0.3 four times, not; 0.2 ten times, four of them relevant."""
    assert measure(cells, None)["overall"]["average_precision"]["mean"] == pytest.approx((6 + 4 * 10 / 28) / 10)


def test_tables_fit_a_terminal(
    cells: list[WeighedPair], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_quality(measure(cells, {"rtt:length"}), "validate")
    show_faithfulness(FAITHFUL)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "12 cells of 7 prompts, 10 mixed" in shown
    assert "unseen kinds" in shown
    assert "[red]" in "".join(shown.split())  # no markup
    assert "deletion: verdicts that flip" in shown
    assert CONSTANT not in shown
    show_quality(measure([cell(i, [0.5] * 9, [1] + [0] * 8, "rtt:x") for i in range(3)], None), "validate")
    assert CONSTANT in capsys.readouterr().out


POINT = {"mean": 0.5, "low": 0.25, "high": 0.75}
CURVES = {"random": {"curve": [POINT] * 2}, HOSTILE: {"curve": [POINT] * 2, "area": POINT | {"low": float("nan")}}}
FAITHFUL = {"shares": [0.01, 0.2], "deletion": {"cells": 3, "prompts": 2, "undecided": 0, "sources": CURVES}}


def test_the_page_shows_everything_and_runs_nothing(cells: list[WeighedPair]) -> None:
    page = quality_page(measure(cells, {"rtt:length"}), FAITHFUL, f"validate {HOSTILE}")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4  # title and heading, a kind, a source
    for words in ("Average precision per cell", "unseen kinds", "local negative", "Deletion", "Calibration", "20 %"):
        assert words in page
    assert "nan" not in page.split("</style>")[1].lower()
    assert "http:" not in page
    assert "https:" not in page
    assert CONSTANT not in page
    constant = measure([cell(i, [0.5] * 9, [1] + [0] * 8, "rtt:x") for i in range(3)], None)
    assert CONSTANT in quality_page(constant, {"shares": [0.1]}, "test")
    assert "no cell could be tested" in quality_page(constant, {"shares": [0.1]}, "test")


def test_numbers_can_be_written_as_json(cells: list[WeighedPair]) -> None:
    written = json.loads(json.dumps(with_null(measure(cells, None)), allow_nan=False))
    assert written["kinds"]["rtt:length"]["average_precision"] == {"mean": None, "low": None, "high": None}
    assert written["kinds"]["rtt:length"]["reliability"][0] == {"tokens": 0, "p": None, "relevant": None}
