"""Grids of runs, from YAML."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.comparison.grid import EXAMPLE, Grid, read_grid
from rtt_lightning.types.errors import UserError

SMALL: dict[str, Any] = {
    "folder": "out",
    "shared": ["demo/policy.yaml", "--trainer.max_steps=4"],
    "evaluate": 2,
    "seeds": [3, 5],
    "methods": {"grpo": "methods/grpo-csr.yaml", "rtt": ["methods/rtt.yaml", "--rollout.relevance=RuleSpans"]},
}


def grid(tmp_path: Path, **changes: Any) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in (SMALL | changes).items() if value != "leave out"}))
    return read_grid(path)


def test_a_run_for_each_method_and_seed(tmp_path: Path) -> None:
    found = grid(tmp_path)
    assert [run.name for run in found.runs] == ["grpo/seed-3", "grpo/seed-5", "rtt/seed-3", "rtt/seed-5"]
    assert found.run("rtt/seed-5").settings == (
        "--config=demo/policy.yaml", "--trainer.max_steps=4",
        "--config=methods/rtt.yaml", "--rollout.relevance=RuleSpans",
    )  # fmt: skip
    assert (found.baseline, found.frontier, found.methods, found.seeds) == ("grpo", 0, ["grpo", "rtt"], [3, 5])
    assert found.run("rtt/seed-5").start == found.run("grpo/seed-5").start == Path("out/start/seed-5")
    assert found.run("rtt/seed-5").output == Path("out/rtt/seed-5/responses")


def test_models_add_before_methods_and_have_folders(tmp_path: Path) -> None:
    found = grid(tmp_path, models={"small": "a.yaml", "large": ["b.yaml", "--trainer.devices=2"]}, baseline="rtt")
    assert len(found.runs) == 8
    run = found.run("rtt/large/seed-3")
    assert run.settings[2:5] == ("--config=b.yaml", "--trainer.devices=2", "--config=methods/rtt.yaml")
    assert run.start == Path("out/start/large/seed-3")
    assert found.baseline == "rtt"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": {}}, "unknown key 'method', expected folder, .*; did you mean 'methods'"),
        ({"seeds": "leave out", "folder": "leave out"}, "folder and seeds missing; `rtt compare --help`"),
        ({"seeds": 3}, r"seeds should be a list of numbers from 0 up, such as \[0, 1, 2\], got 3"),
        ({"seeds": []}, "seeds should be a list"),
        ({"seeds": [True]}, "seeds should be a list"),
        ({"seeds": [1, 1]}, "seeds holds some twice"),
        ({"evaluate": 0}, "evaluate should be a number from 1 up, got 0"),
        ({"frontier": "many"}, "frontier should be a number from 0 up, got 'many'"),
        ({"methods": {}}, "baseline should be one of the methods, of which there is none"),
        ({"baseline": "ppo"}, "baseline should be one of the methods, grpo, rtt; got 'ppo'"),
        ({"methods": ["a"]}, r"methods should name each and what it adds, such as \{grpo: methods/grpo-csr.yaml\}"),
        ({"methods": {"../up": []}}, "methods names '../up': it becomes a folder"),
        ({"methods": {"start": []}}, "methods names 'start': it becomes a folder"),
        ({"shared": {"a": 1}}, "shared should be a YAML file, a flag such as"),
        (
            {"shared": ["--trainer.max_steps", "4"]},
            "shared holds '--trainer.max_steps', expected the name of a .yaml file",
        ),
        ({"methods": {"a": "grpo"}}, "methods.a holds 'grpo', expected"),
        ({"folder": ""}, "folder should be a path, got ''"),
        ({"shared": "--seed_everything=3"}, "shared holds '--seed_everything=3', which a comparison sets for each run"),
    ],
)
def test_a_wrong_grid_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        grid(tmp_path, **changes)
    assert str(tmp_path / "grid.yaml") in str(raised.value)


@pytest.mark.parametrize(("text", "says"), [("a: [", "is not YAML"), ("- a", "should hold folder, .*, got list")])
def test_what_is_no_grid_at_all(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        read_grid(tmp_path / "grid.yaml")


def test_an_unknown_run_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run 'rtt/seed-4'; its runs are grpo/seed-3, .*; did you mean 'rtt/seed-"):
        grid(tmp_path).run("rtt/seed-4")


def test_the_example_is_a_grid(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(EXAMPLE)
    found = read_grid(tmp_path / "grid.yaml")
    assert [run.name for run in found.runs[:2]] == ["grpo-csr/seed-0", "grpo-csr/seed-1"]
    assert found.methods == ["grpo-csr", "rtt"]
