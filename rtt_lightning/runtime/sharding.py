"""FSDP2: a model sharded over the processes, gathered one decoder layer at a time."""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from rtt_lightning.types.errors import UserError

PACKED = torch.uint8


def shard(model: nn.Module, mesh: DeviceMesh, low_precision: bool) -> None:
    """Shard a Hugging Face model in place, with or without adapters: a group per decoder layer, one for the rest.

    Args:
        model: Names its decoder layer classes in ``_no_split_modules``.
        mesh: One-dimensional, over the processes that share the model.
        low_precision: Gather and compute in bf16, and reduce gradients in fp32; the shards keep their own dtype.

    Raises:
        UserError: For a 4-bit base, whose packed weights have no rows to shard by.
    """
    if has_packed_weights(model):
        raise UserError("a 4-bit base cannot be sharded: its packed weights have no rows; use DDP, or LoRA over bf16")
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if low_precision else MixedPrecisionPolicy()
    for layer in decoder_layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def has_packed_weights(model: nn.Module) -> bool:
    """Whether weights are packed in 4 bits, two per byte."""
    return any(parameter.dtype == PACKED for parameter in model.parameters())


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The modules that make up the depth of a Hugging Face model, in order."""
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    return [module for module in model.modules() if type(module).__name__ in names]


def as_forward_method(model: nn.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(model, ...)`` as a method for which a sharded ``model`` gathers its weights.

    FSDP gathers the weights outside the layers only for ``forward``; we read the output embedding elsewhere.
    """
    name = function.__name__
    setattr(model, name, MethodType(function, model))
    register_fsdp_forward_method(model, name)
    return getattr(model, name)


def full_tensor(weight: Tensor) -> Tensor:
    """A whole tensor, gathered if sharded. A collective: all processes must call it in the same order."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def unpacked(tensor: Any) -> Tensor:
    """The detached tensor; unpacked if it holds weights in 4 bits."""
    if tensor.dtype != PACKED or not isinstance(tensor, nn.Parameter):
        return tensor.detach()
    from bitsandbytes.functional import dequantize_4bit  # an extra

    packed: Any = tensor
    return dequantize_4bit(packed.detach(), packed.quant_state)
