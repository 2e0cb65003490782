"""What a comparison says, from runs that are made up: by hand, and at the edges."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from rtt_lightning.comparison.grid import Grid, Run
from rtt_lightning.comparison.measures import measure, rubric_frontier
from rtt_lightning.comparison.page import page
from rtt_lightning.comparison.results import Curve, Evaluation
from rtt_lightning.comparison.tables import markdown
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

Met = Sequence[Sequence[bool | None]]
"""Verdicts of the responses, one to each prompt."""


def judged(*met: Sequence[bool | None], kinds: Sequence[str] = ("x", "x", "x", "y")) -> list[JudgedRollout]:
    """A response to each prompt, of which the fourth asks for a kind of its own."""
    found = []
    for number, verdicts in enumerate(met):
        criteria = tuple(Criterion(f"criterion {k}", kinds[number % 4]) for k in range(len(verdicts)))
        sample = RubricSample(f"p{number}", ({"role": "user", "content": f"task {number}"},), criteria)
        rollout = Rollout.of_text(sample.id, "some words that differ")
        found.append(JudgedRollout(sample, rollout, tuple(Verdict(value, "") for value in verdicts)))
    return found


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Measures runs: per method and seed the (KL, verdicts) of its evaluations, the first before training."""

    def measured(
        methods: dict[str, list[list[tuple[float, Met]]]], kl: float | None = None, baseline: str = "a"
    ) -> Any:
        curves = {}
        for method, of in methods.items():
            for seed, points in enumerate(of):
                run = Run(method, "", seed, (), tmp_path)
                run.output.mkdir(parents=True, exist_ok=True)
                trained = json.dumps([{"text": "", "checker": "x"}])
                parquet.write_table(pa.table({"criteria": [trained]}), run.output / "window-000000.parquet")
                curves[run.name] = Curve(
                    run, [Evaluation(step, kl, judged(*met), {}) for step, (kl, met) in enumerate(points)]
                )
        seeds = range(max(map(len, methods.values())))
        runs = tuple(Run(method, "", seed, (), tmp_path) for method in methods for seed in seeds)
        return measure(Grid(tmp_path, runs, baseline, 1, 0), curves, "", kl)

    return measured


START: Met = [[False, False], [False, True], [True, True], [False, False]]
BETTER: Met = [[True, False], [True, True], [True, True], [True, False]]
BEST: Met = [[True, True]] * 4


def test_gains_at_an_equal_kl_and_at_the_end_by_hand(compared: Callable[..., dict[str, Any]]) -> None:
    # a: 3/8 of the criteria, then 6/8 at KL 2; b: 3/8, then all at KL 4. At KL 2 b is half way, at 5.5/8.
    found = compared({"a": [[(0.0, START), (2.0, BETTER)]], "b": [[(0.0, START), (4.0, BEST)]]})
    assert found["kl"] == 2
    at_kl, last = (found[when]["all"]["rubric_accuracy"] for when in ("at_kl", "last"))
    assert at_kl["a"]["gain"]["mean"] == pytest.approx(3 / 8)
    assert at_kl["b"]["accuracy"]["mean"] == pytest.approx(5.5 / 8)
    assert at_kl["b"]["difference"]["mean"] == pytest.approx(-0.5 / 8)
    assert "difference" not in at_kl["a"]
    assert last["b"]["difference"]["mean"] == pytest.approx(2 / 8)
    whole = found["last"]["all"]["instruction_accuracy_lower_bound"]
    assert [whole[method]["accuracy"]["mean"] for method in "ab"] == [2 / 4, 1]
    unseen = found["last"]["unseen kinds"]["rubric_accuracy"]["a"]  # the fourth prompt alone
    assert unseen["gain"]["mean"] == pytest.approx(1 / 2)
    assert found["kinds"] == {"y": {"start": 0, "a": 0.5, "b": 1}, "x": {"start": 0.5, "a": 5 / 6, "b": 1}}


def test_only_seeds_that_all_methods_have_are_compared(compared: Callable[..., dict[str, Any]]) -> None:
    short, long = [(0.0, START), (2.0, START)], [(0.0, START), (2.0, BEST)]
    found = compared({"a": [short, short], "b": [long]})
    assert found["seeds"] == [0]
    assert compared({"b": [long]}) == {}  # without the baseline


def test_a_method_that_never_gets_so_far_is_left_out_of_that_kl_alone(compared: Callable[..., dict[str, Any]]) -> None:
    runs = {"a": [[(0.0, START), (2.0, BETTER)]], "b": [[(0.0, START), (4.0, BEST)]]}
    found = compared(runs, kl=3.0)
    assert [*found["at_kl"]["all"]["rubric_accuracy"]] == ["b"]
    assert [*found["last"]["all"]["rubric_accuracy"]] == ["a", "b"]
    said = page({"": found}, "title", "a", [])
    assert "a does not get so far" in said
    assert "the baseline" not in said
    assert "not reached" in said
    assert "| a      |            – |" in markdown(found, "title", "a", [])


def test_without_a_kl_only_the_ends_are_compared_and_the_run_is_named(compared: Callable[..., dict[str, Any]]) -> None:
    unknown, nan = [(0.0, START), (float("nan"), BEST)], float("nan")
    found = compared({"a": [[(0.0, START), (2.0, BETTER)]], "b": [unknown]})
    assert (found["kl"], found["at_kl"], found["without_kl"]) == (None, {}, ["b/seed-0"])
    for said in (page({"": found}, "title", "a", []), markdown(found, "title", "a", [])):
        assert "as that of b/seed-0 is unknown: evaluations need" in said
    # One evaluation without a KL: what lies before it counts.
    gap = [(0.0, START), (3.0, BETTER), (nan, BEST)]
    found = compared({"a": [[(0.0, START), (2.0, BETTER), (5.0, BEST)]], "b": [gap]})
    assert found["kl"] == 3
    assert {*found["at_kl"]["all"]["rubric_accuracy"]} == {"a", "b"}


def test_what_is_undecided_counts_in_the_bounds_and_is_shown(compared: Callable[..., dict[str, Any]]) -> None:
    open_: Met = [[True, None], *BEST[1:]]
    found = compared({"a": [[(0.0, START), (2.0, BEST)]], "b": [[(0.0, START), (2.0, open_)]]})
    assert found["last"]["all"]["instruction_accuracy_lower_bound"]["b"]["accuracy"]["mean"] == 3 / 4
    assert found["metrics"]["b"]["undecided_share"] == pytest.approx(1 / 4)
    assert "responses with an undecided criterion" in markdown(found, "title", "a", [])


def test_runs_that_trip_guards_are_named_wherever_they_are_ranked(compared: Callable[..., dict[str, Any]]) -> None:
    found = compared({"a": [[(0.0, START), (2.0, BEST)]], "b": [[(0.0, START), (2.0, BEST)]]})
    assert found["tripped"] == {"a": {}, "b": {}}
    found["tripped"]["b"] = {"b/seed-0": ["length 3, 9 before (<at least 6.75>)"]}
    said = page({"": found}, "title", "a", ["c/seed-0"])
    assert said.count("guards tripped in 1 of 1 runs") == 1
    assert "length 3, 9 before (&lt;at least" in said
    assert "Not complete, so left out: c/seed-0." in said
    assert "- b/seed-0: length 3, 9 before" in markdown(found, "title", "a", [])


def test_the_frontier_is_that_of_accuracy_over_all_criteria() -> None:
    """One prompt with a criterion that is never met, one with five of which all or none are."""
    rows = [*judged([False]), *judged([False])]
    rows += [item for met in (True, False) for item in judged([False], [met] * 5)[1:]]
    reached = rubric_frontier(rows)
    assert reached is not None
    kl, gain = reached
    # 5 of 12 are met; with the best response alone 5 of 6, at log 2 nats for one of the two prompts.
    assert gain[-1] == pytest.approx(5 / 6 - 5 / 12)
    assert kl[-1] == pytest.approx(np.log(2) / 2)


def test_a_prompt_that_is_hardly_decided_hides_nothing_of_the_others() -> None:
    decided = [item for met in (True, False, True, False) for item in judged([met])]
    hardly = [item for met in (True, None, None, None) for item in judged([True], [met])[1:]]
    alone, beside = rubric_frontier(decided), rubric_frontier([*decided, *hardly])
    assert alone is not None
    assert beside is not None
    assert beside[0][-1] > 0
    assert rubric_frontier(judged([None], [None])) is None
