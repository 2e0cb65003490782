"""A fingerprint tells weights from others without reading them all."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rtt_lightning.lm.fingerprint import fingerprint


def test_it_is_of_the_content_however_it_is_divided(tiny_model: str, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) == 2
    assert fingerprint(str(tmp_path / "shards")) == fingerprint(tiny_model)


@pytest.mark.parametrize("place", [(0, 0), (30, 7), (63, 31)])
def test_one_other_number_of_a_small_model_shows(tiny_model: str, tmp_path: Path, place: tuple[int, int]) -> None:
    weights = load_file(f"{tiny_model}/model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][place] += 1
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert fingerprint(str(tmp_path)) != fingerprint(tiny_model)


@pytest.mark.parametrize("changed", ["matrix", "experts", "vector"])
def test_a_tensor_of_a_large_model_that_was_trained_shows(tmp_path: Path, changed: str) -> None:
    weights = {"matrix": torch.zeros(9000, 500), "experts": torch.zeros(3, 50, 500), "vector": torch.zeros(5000)}
    save_file(weights, tmp_path / "model.safetensors")
    before = fingerprint(str(tmp_path))
    weights[changed].add_(0.01)
    save_file(weights, tmp_path / "model.safetensors")
    assert fingerprint(str(tmp_path)) != before


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    assert fingerprint(str(tmp_path)) is None


def test_it_is_read_wherever_new_tensors_go(tiny_model: str) -> None:
    """Lightning has models made on the GPU; the meta device, which has no numbers at all, stands for it here."""
    expected = fingerprint(tiny_model)
    with torch.device("meta"):
        assert fingerprint(tiny_model) == expected
