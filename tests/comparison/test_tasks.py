"""The commands that tasks of a grid still need."""

import json
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.comparison.carry_out import Carrier
from rtt_lightning.comparison.grid import Grid, Run
from rtt_lightning.comparison.tasks import EVALUATED, SETTINGS, changes, stages, steps_of
from rtt_lightning.types.errors import UserError


def grid(tmp_path: Path, *methods: str, frontier: int = 0) -> Grid:
    runs = [Run(method, "", seed, (f"--config={method}.yaml",), tmp_path) for method in methods for seed in (0, 1)]
    return Grid(tmp_path, tuple(runs), methods[0], 2, frontier)


def settings(**trainer: Any) -> dict[str, Any]:
    rollout = dict.fromkeys(("engine", "verifier", "evaluation", "loose", "mask_truncated", "reasoning"))
    limits = {
        "max_steps": 4,
        "limit_val_batches": 1.0,
        "accumulate_grad_batches": 3,
        "callbacks": None,
        "precision": 32,
    }
    model = {"init_args": {"model": "m", "lora": None}}
    return {"model": model, "data": {"seed": 0}, "rollout": rollout, "trainer": limits | trainer}


def commands(found: Grid, task: str, **trainer: Any) -> list[list[str]]:
    return [args for args, _ in steps_of(found, {run.name: settings(**trainer) for run in found.runs}, task)]


def evaluate(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")


def save(run: Run, *updates: int) -> None:
    evaluate(run.folder / "checkpoints", *(f"step-{update:08d}.ckpt" for update in updates))


def test_stages_come_in_order_and_runs_of_a_seed_together(tmp_path: Path) -> None:
    assert stages(grid(tmp_path, "a", "b", frontier=2)) == [
        ["start/seed-0", "start/seed-1"],
        ["frontier/model"],
        ["a/seed-0", "b/seed-0", "a/seed-1", "b/seed-1"],
    ]


def test_a_run_that_begins_is_one_fit(tmp_path: Path) -> None:
    callbacks = [{"class_path": "x.Monitor"}, {"class_path": "rtt_lightning.callbacks.Checkpoints", "init_args": {}}]
    found = grid(tmp_path, "a")
    with pytest.raises(UserError, match="has neither an evaluation nor a checkpoint after 2 updates"):
        commands(found, "a/seed-1")
    steps = steps_of(found, {"a/seed-1": settings(callbacks=callbacks)}, "a/seed-1")
    (tmp_path / "a/seed-1" / SETTINGS).unlink()
    args, log = next(steps)
    assert args[:2] == ["fit", "--config=a.yaml"]
    assert "--trainer.val_check_interval=6" in args  # two updates of three micro-batches
    assert {"--seed_everything=1", f"--ckpt_path={tmp_path}/a/seed-1/checkpoints"} <= {*args}
    [own] = [json.loads(arg.partition("=")[2]) for arg in args if arg.startswith("--trainer.callbacks=")]
    assert [each["class_path"] for each in own] == ["x.Monitor", "rtt_lightning.Checkpoints"]
    assert own[1]["init_args"] == {"folder": f"{tmp_path}/a/seed-1/checkpoints", "every": 2}
    assert log == tmp_path / "a/seed-1/output.log"
    evaluate(tmp_path / "a/seed-1/responses", "val-000002.json", "val-000004.json")
    assert [*steps] == []


def test_a_killed_evaluation_is_made_up_from_its_checkpoint_before_the_run_goes_on(tmp_path: Path) -> None:
    found = grid(tmp_path, "a")
    run = found.run("a/seed-0")
    save(run, 2)
    steps = steps_of(found, {run.name: settings()}, run.name)
    args, _ = next(steps)
    assert args[0] == "validate"
    assert f"--ckpt_path={run.folder}/checkpoints/step-00000002.ckpt" in args
    evaluate(run.output, "validate-000002.json")
    assert next(steps)[0][0] == "fit"


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    found = grid(tmp_path, "a", "b", frontier=3)
    evaluate(found.run("b/seed-0").output, "val-000002.json", "validate-000004.json")  # its checkpoints are gone
    assert commands(found, "b/seed-0") == []
    assert [args[0] for args in commands(found, "start/seed-0")] == ["validate"]
    evaluate(tmp_path / "start/seed-0", "validate.parquet")  # killed before it was whole
    assert len(commands(found, "start/seed-0")) == 1
    evaluate(tmp_path / "start/seed-0", EVALUATED)
    assert commands(found, "start/seed-0") == []
    assert "--rollout.evaluation.n=3" in commands(found, "frontier/model")[0]


def test_other_settings_are_a_mistake_for_runs_and_for_what_they_start_from(tmp_path: Path) -> None:
    found = grid(tmp_path, "a", frontier=3)
    save(found.run("a/seed-0"), 2, 4)
    for task in ("a/seed-0", "start/seed-0", "frontier/model"):
        next(steps_of(found, {run.name: settings() for run in found.runs}, task))
    with pytest.raises(UserError, match=r"a/seed-0 began with other settings: trainer.max_steps from 4 to 8 changed"):
        commands(found, "a/seed-0", max_steps=8)
    assert len(commands(found, "start/seed-0", max_steps=8)) == 1  # which does not change where all start
    for task in ("start/seed-0", "frontier/model"):
        with pytest.raises(UserError, match="began with other settings: precision from 32 to 16 changed"):
            commands(found, task, precision=16)
    with pytest.raises(UserError, match="responses from 3 to 9 changed"):
        commands(grid(tmp_path, "a", frontier=9), "frontier/model")


def test_a_part_that_was_null_is_a_change_and_a_new_setting_is_none(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text(json.dumps({"lora": None, "rate": 1.0, "gone": 3}))
    assert changes(tmp_path, {"lora": None, "rate": 1.0, "new": 2}) == []
    assert changes(tmp_path, {"lora": {"rank": 4}, "rate": 1.0}) == ["lora from None to {'rank': 4}"]
    assert changes(tmp_path / "absent", {}) == []


def test_a_task_that_cannot_even_begin_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = grid(tmp_path, "a", "b")
    (tmp_path / "a/seed-0").mkdir(parents=True)
    (tmp_path / "a/seed-0" / SETTINGS).write_text("")
    evaluate(found.run("b/seed-0").output, "val-000002.json", "val-000004.json")
    carrier = Carrier(found, {run.name: settings() for run in found.runs})
    failed = carrier.carry_out([["a/seed-0", "b/seed-0"]])
    assert [*failed] == ["a/seed-0"]
    assert failed["a/seed-0"].startswith("JSONDecodeError: ")
    assert "a/seed-0 failed: JSONDecodeError" in capsys.readouterr().out


def test_what_was_stopped_begins_nothing(tmp_path: Path) -> None:
    found = grid(tmp_path, "a")
    carrier = Carrier(found, {run.name: settings() for run in found.runs})
    carrier._stopped.set()
    assert carrier.carry_out([["a/seed-0"]]) == {"a/seed-0": "stopped before it was done"}
    assert not (tmp_path / "a").exists()
