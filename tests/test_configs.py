"""Every shipped YAML is parsed, in the combinations that its header gives."""

from itertools import product
from pathlib import Path

import pytest

from rtt_lightning.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS, MODELS = sorted(CONFIGS.glob("methods/*.yaml")), sorted(CONFIGS.glob("models/*.yaml"))
EXTRAS = sorted(path for kind in ("engines", "memory", "strategies") for path in CONFIGS.glob(f"{kind}/*.yaml"))


def parse(command: str, capsys: pytest.CaptureFixture[str], *files: Path) -> str:
    """The composed configuration, without running anything."""
    flags = [flag for file in files for flag in ("--config", str(file))]
    with pytest.raises(SystemExit) as ended:
        main([command, *flags, "--print_config"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("method", "model"), product(METHODS, MODELS), ids=lambda path: path.stem)
def test_paper_overlays_compose(method: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = parse("fit", capsys, method, model, CONFIGS / "data/paper.yaml")
    assert "top_k: 100" in shown
    assert "lr: 1.0e-06" in shown
    assert ("clip_high: 0.2\n" if "llama" in model.stem else "clip_high: 0.27\n") in shown


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_engines_strategies_and_memory_compose(extra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("fit", capsys, METHODS[0], MODELS[0], extra)


@pytest.mark.parametrize("name", ["policy", "discriminator"])
def test_demo_configs_parse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SmolLM2-135M-Instruct" in parse("fit", capsys, CONFIGS / f"demo/{name}.yaml")


def test_every_yaml_has_a_header_and_is_short() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        text = path.read_text()
        assert text.startswith("# Purpose:"), path
        assert "# Command:" in text, path
        assert len(text.splitlines()) < 46, path
