"""Fingerprints of weights: tell whether two folders or hub names hold the same, without reading everything."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils.hub import cached_file

ROWS = 4096
"""Most rows read of a tensor, evenly spread; vectors are read whole."""
VALUES = 4096
"""Most values read of a row."""
LOCAL: dict[str, Any] = {"local_files_only": True, "_raise_exceptions_for_missing_entries": False}


def fingerprint(model: str) -> str | None:
    """The fingerprint of the weight files of a model that was loaded before; takes about 100 milliseconds.

    It depends on names and shapes of all tensors, and on rows of each in bf16: a copy saved in another dtype or number
    of files has the same one.

    Args:
        model: Folder or hub name.

    Returns:
        Hexadecimal digits; ``None`` without local safetensors files.
    """
    files = _files(model)
    if not files:
        return None
    with torch.device("cpu"):  # else Lightning, while it makes models, reads to the GPU
        return _digest(files)


def _digest(files: list[str]) -> str:
    digest = hashlib.sha256()
    opened = [safe_open(file, framework="pt") for file in files]
    tensors = sorted((name, file) for file, content in enumerate(opened) for name in content.keys())  # noqa: SIM118
    rows = max(1, ROWS // len(tensors))
    for name, file in tensors:
        part = opened[file].get_slice(name)
        shape = part.get_shape()
        digest.update(f"{name} {shape}\n".encode())
        length, step = (shape[0], -(-shape[0] // rows)) if len(shape) > 1 else (1, 1)
        for place in range(0, length, step):
            values = part[place : place + 1].flatten()[:VALUES] if len(shape) > 1 else part[...].flatten()
            digest.update(values.to(torch.bfloat16).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _files(model: str) -> list[str]:
    """Paths of the weights, without asking a hub."""
    if index := cached_file(model, "model.safetensors.index.json", **LOCAL):
        names = sorted(set(json.loads(Path(index).read_text())["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    found = [cached_file(model, name, **LOCAL) for name in names]
    return [path for path in found if path]
