"""Weights on their way to a server: a folder that it loads."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from rtt_lightning.processes import rank

FILE_BYTES = 2**30
"""A file is written when it has grown to this: all that is held of the model at once."""


@torch.no_grad()
def write_weights(weights: Iterator[tuple[str, Tensor]], dtype: torch.dtype, folder: Path) -> None:
    """Write weights as safetensors files. The first process writes; the others just take part in gathering.

    Args:
        weights: Full tensors by name, as `PolicyWeights.full_weights` yields them.
        dtype: To write them in.
        folder: An existing folder.
    """
    part: dict[str, Tensor] = {}
    number, size = 0, 0
    for name, weight in weights:
        if rank() != 0:
            continue
        part[name] = weight.to("cpu", dtype).contiguous()
        size += part[name].nbytes
        if size >= FILE_BYTES:
            save_file(part, folder / f"weights-{number:04d}.safetensors")
            part, number, size = {}, number + 1, 0
    if part:
        save_file(part, folder / f"weights-{number:04d}.safetensors")
