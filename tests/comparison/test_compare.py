"""`rtt compare` of a grid, end to end with the tiny policy: killed and gone on with, a run that fails, the reports."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.cli import answer
from rtt_lightning.commands.compare import resolve
from rtt_lightning.commands.configs import find
from rtt_lightning.comparison.grid import read_grid
from rtt_lightning.types.errors import UserError
from tests.conftest import ROOT

Grid = Callable[..., Path]


@pytest.fixture
def grid(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """Writes a grid of two methods, one seed, four updates and two evaluations."""
    monkeypatch.chdir(ROOT)

    def write(folder: str = "grid", *more: str, **changes: Any) -> Path:
        shared = [
            "tests/assets/tiny_policy.yaml", f"--model.init_args.model={tiny_model}", "--trainer.max_steps=4",
            "--trainer.limit_val_batches=1.0", "--data.source.init_args.unseen=3", "--rollout.evaluation.top_p=1.0",
            "--rollout.evaluation.top_k=0", "--rollout.evaluation.n=2", "--model.init_args.optimizer.init_args.lr=0.1",
            *more,
        ]  # fmt: skip
        rtt = ["methods/rtt.yaml", "--rollout.relevance=rtt_lightning.RandomRelevance"]  # which moves even this policy
        methods = {"rtt": rtt, "more": [*rtt, "--model.init_args.algorithm.init_args.beta=1"]}
        found = {"folder": str(tmp_path / folder), "shared": shared, "evaluate": 2, "seeds": [1], "methods": methods}
        path = tmp_path / f"{folder}.yaml"
        path.write_text(yaml.safe_dump(found | changes, sort_keys=False))
        return path

    return write


def ended_by_sigterm(path: Path, sign: Path) -> str:
    """Start the comparison as its own process and end it when a file is there; its output."""
    command = [sys.executable, "-m", "rtt_lightning", "compare", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ})
    deadline = time.monotonic() + 300
    while not sign.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output
    return output


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_compares(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = grid(frontier=3), tmp_path / "grid"
    ended_by_sigterm(path, folder / "rtt/seed-1/responses/window-000001.parquet")
    saved = {file.name for file in (folder / "rtt/seed-1/checkpoints").glob("*.ckpt")}
    assert not (folder / "rtt/seed-1/responses/val-000004.parquet").exists()
    assert answer(["compare", str(path)]) == 0
    log = (folder / "rtt/seed-1/output.log").read_text()
    assert log.count("$ rtt fit") == 2
    assert saved  # as on any SIGTERM
    assert "Restoring states from the checkpoint" in log
    shown = capsys.readouterr().out
    assert "rtt/seed-1 done" in shown
    assert "gains at a KL of" in shown
    written = [folder / f"comparison.{kind}" for kind in ("md", "png", "json", "html")]
    assert [line for line in shown.splitlines() if line.startswith(str(folder))] == [str(file) for file in written]
    assert written[1].read_bytes().startswith(b"\x89PNG")

    # What it says is what the evaluations say.
    found = json.loads(written[2].read_text())[""]
    assert found["seeds"] == [1]
    before = json.loads((folder / "start/seed-1/validate.json").read_text())
    after = json.loads((folder / "more/seed-1/responses/val-000004.json").read_text())
    assert found["start"]["rubric_accuracy"] == pytest.approx(before["val/rubric_accuracy"], abs=1e-6)
    more = found["last"]["all"]["rubric_accuracy"]["more"]
    assert more["accuracy"]["mean"] == pytest.approx(after["val/rubric_accuracy"], abs=1e-6)
    gain = after["val/rubric_accuracy"] - before["val/rubric_accuracy"]
    assert more["gain"]["mean"] == pytest.approx(gain, abs=1e-6)
    assert found["metrics"]["more"]["kl_per_response"] == pytest.approx(after["val/kl_per_response"])
    assert found["points"]["rtt"][-1]["update"] == 4
    assert found["kl"] > 0
    assert {*found["at_kl"]} == {"all", "seen kinds", "unseen kinds"}
    assert found["frontier"][0][-1] > 0
    assert "time/update" in found["training"]["rtt"]

    # Again: nothing runs. An evaluation that got lost is made again, from its checkpoint.
    (folder / "more/seed-1/responses/val-000004.json").unlink()
    assert answer(["compare", str(path), "--kl", "0"]) == 0
    assert capsys.readouterr().out.count(" done; about") == 1
    assert (folder / "rtt/seed-1/output.log").read_text() == log
    again = json.loads(written[2].read_text())[""]
    assert again["kl"] == 0
    assert again["at_kl"]["all"]["rubric_accuracy"]["rtt"]["gain"]["mean"] == 0
    assert again["last"]["all"] == found["last"]["all"]

    # Without its checkpoints a complete run is still complete.
    shutil.rmtree(folder / "rtt/seed-1/checkpoints")
    assert answer(["compare", str(path)]) == 0
    assert (folder / "rtt/seed-1/output.log").read_text() == log

    # Other settings in the same folder are a mistake.
    assert answer(["compare", str(grid("grid", "--trainer.max_steps=6", frontier=3))]) == 1
    said = capsys.readouterr().out
    assert "began with other settings: trainer.max_steps from 4 to 6 changed" in said
    assert "nothing to compare yet" in said
    assert "2 of 4 tasks failed: rtt/seed-1, more/seed-1" in said
    assert answer(["compare", str(grid("grid", "--rollout.evaluation.temperature=0.5", frontier=9)), "--report"]) == 1


@pytest.mark.slow
def test_a_run_that_fails_does_not_keep_the_others_from_being_carried_out(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no.ckpt"
    rtt = ["methods/rtt.yaml", f"--rollout.relevance.init_args.checkpoint={missing}"]
    path = grid("other", methods={"grpo": "methods/grpo-csr.yaml", "rtt": rtt, "gdpo": "methods/gdpo.yaml"})
    assert answer(["compare", str(path), "--jobs", "2"]) == 1
    shown = capsys.readouterr().out
    log = tmp_path / "other/rtt/seed-1/output.log"
    assert f"rtt/seed-1 failed: `rtt fit` ended with exit code 2, see {log}: rtt: " in shown
    assert str(missing) in shown
    assert "1 of 4 tasks failed: rtt/seed-1; start the same command again" in shown
    table = (tmp_path / "other/comparison.md").read_text()
    assert "Not complete, so left out: rtt/seed-1." in table
    assert "| gdpo " in table
    assert "| rtt " not in table


def test_a_mistake_in_a_method_is_found_before_anything_runs(grid: Grid, tmp_path: Path) -> None:
    path = grid(methods={"grpo": "methods/grpo-csr.yaml", "mine": "--model.init_args.algorithm.init_args.betta=1"})
    with pytest.raises(UserError, match=r"mine: .*betta"):
        answer(["compare", str(path)])
    with pytest.raises(UserError, match=r"mine: --config nowhere.yaml: no such file"):
        answer(["compare", str(grid(methods={"grpo": "methods/grpo-csr.yaml", "mine": "nowhere.yaml"}))])
    with pytest.raises(UserError, match=r"evaluate is 3, and trainer.max_steps 4 is no multiple of it"):
        answer(["compare", str(grid(evaluate=3))])
    with pytest.raises(UserError, match=r"trainer.limit_val_batches is 0, so nothing would be evaluated"):
        answer(["compare", str(grid("grid", "--trainer.limit_val_batches=0"))])
    with pytest.raises(UserError, match=r"all runs of a comparison need a number of updates: .*, got -1"):
        answer(["compare", str(grid("grid", "--trainer.max_steps=-1"))])
    two = {"a": "methods/grpo-csr.yaml", "b": ["methods/gdpo.yaml", "--trainer.max_steps=2"]}
    with pytest.raises(
        UserError, match=r"the same number of updates, and trainer\.max_steps is 4 of a, 2 of b: set it"
    ):
        answer(["compare", str(grid(methods=two))])
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize("name", ["compare/smoke.yaml", "benchmarks/evidence/development.yaml"])
def test_shipped_grids_are_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = read_grid(find(name))
    assert [*resolve(grid)] == [run.name for run in grid.runs]


def test_a_job_array_names_each_task_once(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = grid(seeds=[1, 2], frontier=4)
    assert answer(["compare", str(path), "--emit", str(tmp_path / "jobs")]) == 0
    assert f"7 tasks: sbatch {tmp_path}/jobs/array.sh" in capsys.readouterr().out
    script, tasks = tmp_path / "jobs/array.sh", (tmp_path / "jobs/tasks.txt").read_text().split()
    assert tasks == [
        "start/seed-1",
        "start/seed-2",
        "frontier/model",
        "rtt/seed-1",
        "more/seed-1",
        "rtt/seed-2",
        "more/seed-2",
    ]
    assert "#SBATCH --array=1-7\n" in script.read_text()
    tool = tmp_path / "bin/rtt"  # says how the script calls it
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$@"\n')
    tool.chmod(0o755)
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "4", "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    said = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [str(ROOT), "compare", str(path), "--only", "rtt/seed-1"]


def test_what_cannot_be_compared(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no grid, which is a .yaml file; an evaluation needs another one"):
        answer(["compare", "runs/validate.parquet"])
    with pytest.raises(UserError, match="--jobs is the number of runs at a time, at least 1, got 0"):
        answer(["compare", str(grid()), "--jobs", "0"])
    with pytest.raises(UserError, match=r"--kl is a distance in nats per response, at least 0, got -1\.0"):
        answer(["compare", str(grid()), "--kl=-1"])
    with pytest.raises(UserError, match="the grid has no task 'grpo'; its tasks are start/seed-1, rtt/seed-1, more/"):
        answer(["compare", str(grid()), "--only", "grpo"])
    with pytest.raises(UserError, match=r"no file 'absent.yaml' is shipped"):
        answer(["compare", "absent.yaml"])


def test_before_any_run_is_complete_there_is_nothing_to_compare(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["compare", str(grid()), "--report"]) == 1
    assert (
        "nothing to compare yet: no seed is complete for all methods; not complete: rtt/seed-1, more/seed-1"
        in capsys.readouterr().out
    )
