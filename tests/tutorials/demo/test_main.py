"""What the demo does again, and what it does not."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from rtt_lightning.commands.doctor.dry_run import ParsedOnly
from rtt_lightning.commands.run import main
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.reports.page import write_report
from tests.conftest import ROOT
from tutorials.demo import __main__ as demo


def test_a_killed_phase_and_those_behind_it_are_not_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    phases = [demo.Phase(name, name, tmp_path / name, (name,), 1) for name in ("responses", "rl", "after")]
    monkeypatch.setattr(demo, "PHASES", phases)
    monkeypatch.setattr(demo, "FOLDER", tmp_path)

    def killed(command: list[str], **_: object) -> CompletedProcess[str]:
        asked.append(command[-1])
        (tmp_path / "rl").touch()  # a first checkpoint
        return CompletedProcess(command, -9)

    monkeypatch.setattr(demo.subprocess, "run", killed)
    for name in ("responses", "after"):
        (tmp_path / name).touch()
    (tmp_path / "seconds.json").write_text(json.dumps({"responses": 1.0, "rl": 2.0, "after": 3.0}))
    assert demo.main() == -9
    assert demo.main() == -9
    assert asked == ["rl", "rl"]
    assert json.loads((tmp_path / "seconds.json").read_text()) == {"responses": 1.0}


def test_its_commands_are_parsed_and_training_alone_names_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    methods = {}
    for phase in demo.PHASES:
        command, *flags = [flag for flag in phase.command if flag not in ("--ckpt_path", demo.CHECKPOINTS)]
        config = main([command, *flags], ParsedOnly).config[command].model
        methods[phase.name] = config.init_args.get("algorithm", {}).get("class_path", "").rpartition(".")[2]
    steps = yaml.safe_load(Path(demo.POLICY).read_text())["trainer"]["max_steps"]
    assert demo.PHASES[-1].result.stem == f"validate-{steps:06d}"
    assert methods == {"responses": "GRPO", "discriminator": "", "before": "GRPO", "rl": "RTT", "after": "GRPO"}


def test_help_helps_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        demo.main(["--help"])
    assert ended.value.code == 0
    assert "runs/demo/report.html" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        demo.main(["--fast"])  # which would be thought to do something
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("distance", ["kl", "reference_gap"])
@pytest.mark.parametrize("left_open", [True, False])
def test_results_hold_bounds_where_something_is_undecided_and_the_distance_per_response(
    tmp_path: Path, judge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, distance, left_open
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name, met in (("before", False), ("after", True)):
        rows = [judge("a", "x", [met]), judge("b", "x", [True, None if left_open else True])]
        write_completions(tmp_path / name / "validate.parquet", rows)
        metrics = {f"val/{distance}": 0.25, f"val/{distance}_per_response": 2.5, "val/rubric_accuracy": 0.5}
        (tmp_path / name / "validate.json").write_text(json.dumps(metrics))
    (tmp_path / "discriminator").mkdir()
    (tmp_path / "discriminator/metrics.csv").write_text("step,val/average_precision,val/f1\n1,0.5,0.25\n")
    results = demo.gather(tmp_path, {"rl": 1.0})
    demo._show(results)
    shown = {line.split("│")[1].strip(): line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert "2.500" in shown[f"{distance}_per_response"]
    whole, bounds = "instruction_accuracy", ("instruction_accuracy_lower_bound", "instruction_accuracy_upper_bound")
    assert (whole in shown, whole in results["difference"]) == (not left_open, not left_open)
    for name in bounds:
        assert (name in shown) == (name in results["difference"]) == left_open
    (tmp_path / "results.json").write_text(json.dumps(results))
    report = write_report(tmp_path).read_text()
    assert ("Instruction-level accuracy, bounds" in report) == left_open
    assert ("no KL" in report) == (distance == "reference_gap")
