"""Whether two folders or hub names hold the same weights, without reading them all."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils.hub import cached_file

SAMPLED = 64
"""Tensors whose first values are read, spread over all."""
VALUES = 256
"""How many of them."""
LOCAL: dict[str, Any] = {"local_files_only": True, "_raise_exceptions_for_missing_entries": False}


def base_of(model: str) -> dict[str, Any]:
    """What a checkpoint keeps of the model that it continues, to know it again; once that was loaded."""
    return {"folder": Path(model).is_dir(), "fingerprint": fingerprint(model)}


def fingerprint(model: str) -> str | None:
    """Of the weights of a model that was loaded before, as files hold them; some milliseconds.

    Names and shapes of all tensors count, and the first values of some, in bf16: a copy that was saved in another dtype
    or number of files has the same one.

    Args:
        model: Folder or hub name.

    Returns:
        Hexadecimal digits; ``None`` where no safetensors files are at hand.
    """
    files = _files(model)
    if not files:
        return None
    digest = hashlib.sha256()
    opened = [safe_open(file, framework="pt") for file in files]
    tensors = sorted((name, file) for file, content in enumerate(opened) for name in content.keys())  # noqa: SIM118
    for number, (name, file) in enumerate(tensors):
        part = opened[file].get_slice(name)
        digest.update(f"{name} {part.get_shape()}\n".encode())
        if number % max(1, len(tensors) // SAMPLED) == 0 and part.get_shape():
            values = part[:1].flatten() if len(part.get_shape()) > 1 else part[:VALUES]
            digest.update(values[:VALUES].to(torch.bfloat16).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _files(model: str) -> list[str]:
    """Paths of the weights, without asking a hub."""
    if index := cached_file(model, "model.safetensors.index.json", **LOCAL):
        names = sorted(set(json.loads(Path(index).read_text())["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    found = [cached_file(model, name, **LOCAL) for name in names]
    return [path for path in found if path]
