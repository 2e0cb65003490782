"""What is said of loading a body: nothing of what every discriminator lacks or leaves out, and all else."""

import logging
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig


@pytest.fixture
def body(tiny_model: str, tmp_path: Path) -> Path:
    """A causal model with a head of its own, not tied to the embedding."""
    folder = shutil.copytree(tiny_model, tmp_path / "body")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))
    weights = load_file(folder / "model.safetensors")
    head = {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}
    save_file(weights | head, folder / "model.safetensors", {"format": "pt"})
    return folder


def said(body: Path, caplog: pytest.LogCaptureFixture, layers: int | None = None) -> str:
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addHandler(caplog.handler)
    try:
        build(RelevanceConfig(str(body), layers=layers))
    finally:
        logger.removeHandler(caplog.handler)
    return caplog.text


@pytest.mark.parametrize("layers", [None, 1])
@pytest.mark.parametrize("colours", [False, True])
def test_heads_and_layers_left_out_are_no_news(
    body: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, layers: int | None, colours: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: colours)
    assert said(body, caplog, layers) == ""


@pytest.mark.parametrize("layers", [None, 1])
def test_a_weight_that_the_body_lacks_is_told(body: Path, caplog: pytest.LogCaptureFixture, layers: int | None) -> None:
    weights = load_file(body / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, body / "model.safetensors", {"format": "pt"})
    assert "model.layers.0.mlp.up_proj.weight" in said(body, caplog, layers)


def test_a_weight_that_the_body_has_no_place_for_is_told(body: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such as that of a layer beyond those that the configuration knows, unless layers are left out."""
    weights = load_file(body / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"] = weights["model.layers.1.mlp.up_proj.weight"].clone()
    save_file(weights, body / "model.safetensors", {"format": "pt"})
    assert "model.layers.2.mlp.up_proj.weight" in said(body, caplog)
