"""The YAML that `rtt init` writes: it runs as it is."""

import json
from pathlib import Path

import pytest
import yaml

from rtt_lightning.cli import answer
from rtt_lightning.commands.run import main
from rtt_lightning.types.errors import UserError

ROW = {"criteria": [{"text": "Use no commas.", "checker": "rtt:no_commas"}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "my data: it's.jsonl"  # a name that YAML would read otherwise without quotes
    path.write_text("\n".join(json.dumps({"prompt": f"Tell me of number {number}.", **ROW}) for number in range(40)))
    return path


def test_a_run_begins_from_it(tiny_model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer(["init", "mine.yaml", "--model", tiny_model, "--data", str(data)])
    text = Path("mine.yaml").read_text()
    assert text.count("#") > 10
    short = ("--trainer.max_steps=1", "--rollout.sampling.max_new_tokens=4", "--trainer.precision=32-true")
    run = main(["fit", "--config", "mine.yaml", *short])
    assert run.trainer.global_step == 1
    assert len(run.datamodule.records["val"]) > 0
    assert [*Path("runs/mine/completions").glob("*.parquet")]
    after = run.trainer.checkpoint_callback.folder
    assert f"--ckpt_path {after} after" in text
    main(["validate", "--config", "mine.yaml", "--ckpt_path", str(after), *short])
    main(["validate", "--config", "mine.yaml", *short])
    answer(["compare", *(f"runs/mine/completions/validate{of}.parquet" for of in ("", "-000001"))])


def test_a_judge_is_asked_where_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    answer(["init", str(path), "--judge", "http://127.0.0.1:8001/v1", "--judge_model", "Qwen/Qwen3-8B"])
    judge = yaml.safe_load(path.read_text())["rollout"]["verifier"]["init_args"]["judge"]["init_args"]
    assert (judge["url"], judge["model"]) == ("http://127.0.0.1:8001/v1", "Qwen/Qwen3-8B")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(path), "--print_config"])
    assert "tokens: 10000000" in capsys.readouterr().out


def test_nothing_is_overwritten_and_half_a_judge_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(UserError, match="needs both --judge URL and --judge_model NAME"):
        answer(["init", str(path), "--judge", "http://127.0.0.1:8001/v1"])
    path.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        answer(["init", str(path)])
    assert path.read_text() == "mine"
