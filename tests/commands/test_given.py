"""The model class that arguments name, or the default one, comes first: files compose in any order."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.cli import main
from rtt_lightning.commands.given import with_model_class

OTHER = "a.Module"
DEFAULT = "--model=rtt_lightning.modules.PolicyModule"
SCHEME = """
from rtt_lightning.modules import PolicyModule

class Wide(PolicyModule):
    def __init__(self, model: str, clip_high: float = 0.5, **kwargs):
        super().__init__(model, clip_high=clip_high, **kwargs)
"""


def model_of(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """The parsed model."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", *args, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]


@pytest.mark.parametrize(
    ("args", "first"),
    [
        ([], DEFAULT),
        (["--model.init_args.lora.rank=4", "--trainer.logger", "null"], DEFAULT),
        (["--config", "model: {init_args: {model: class_path}}"], DEFAULT),
        (["--config", "model: ["], DEFAULT),  # the parser says what is wrong
        (["--config", f"model: {{class_path: {OTHER}}}"], f"--model={OTHER}"),
        ([f"-c=model: {OTHER}"], f"--model={OTHER}"),
        ([f"--model={OTHER}"], f"--model={OTHER}"),
        (["--model", OTHER, "--model.x", "1"], f"--model={OTHER}"),
        (["--model.class_path", OTHER], f"--model={OTHER}"),
        ([f"--model={{class_path: {OTHER}}}"], f"--model={OTHER}"),
        (["--config=model: b.Earlier", f"--model={OTHER}"], f"--model={OTHER}"),
    ],
)
def test_the_class_that_is_named_last_comes_first(args: list[str], first: str) -> None:
    assert with_model_class(["fit", *args]) == ["fit", first, *args]


def test_a_file_names_the_class_also_before_the_subcommand(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"fit: {{model: {{class_path: {OTHER}}}}}")
    before = ["--config", f"{tmp_path}/mine.yaml", "fit"]
    assert with_model_class(before) == [*before, f"--model={OTHER}"]
    assert with_model_class(["--help"]) == ["--help"]


def test_defaults_of_the_default_class_reach_no_other_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide_scheme.py").write_text(SCHEME)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_of(capsys, "--config", "demo/discriminator.yaml")["init_args"]["lora"] is None
    mine = model_of(capsys, "--config=methods/gdpo.yaml", "--config=model: wide_scheme.Wide", "--model.model=none")
    assert mine["class_path"] == "wide_scheme.Wide"
    assert mine["init_args"]["clip_high"] == 0.5
    assert mine["init_args"]["algorithm"]["class_path"] == "rtt_lightning.algorithms.GDPO"
