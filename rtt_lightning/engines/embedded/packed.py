"""Linear layers of a CPU, for sampling: products by oneDNN, from weights in the layout that it computes with.

`torch` multiplies fp32 matrices by MKL, which takes twice the time on an AMD EPYC, and lays weights in bf16 out anew in
each product. `benchmarks/sampling.py` measures what this saves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def linears_packed(model: nn.Module) -> Iterator[None]:
    """Run with the weights of all linear layers packed: the same values, in a second copy. Without gradients.

    Under autocast the copy is in its dtype. Layers that oneDNN does not compute, such as those on a GPU, stay as they
    are.
    """
    layers: list[Any] = [
        layer for layer in model.modules() if type(layer) is nn.Linear and "forward" not in vars(layer)
    ]
    packed: list[Any] = []
    try:
        for layer in layers:
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else layer.weight.dtype
            if _computes(layer.weight.device, dtype):
                layer.forward = _product(layer, dtype)
                packed.append(layer)
        yield
    finally:
        for layer in packed:
            del layer.forward


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def _product(layer: nn.Linear, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(dtype))
    return partial(_multiply, weight=weight, bias=None if layer.bias is None else layer.bias.to(dtype))


def _multiply(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(states.to(weight.dtype), weight, bias, "none", [], "")
