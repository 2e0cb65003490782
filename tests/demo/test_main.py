"""What the demo does again, and what it does not."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from rtt_lightning.demo import __main__ as demo


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


def test_help_helps_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        demo.main(["--help"])
    assert ended.value.code == 0
    assert "runs/demo/report.html" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        demo.main(["--fast"])  # which would be thought to do something
    assert not list(tmp_path.iterdir())
