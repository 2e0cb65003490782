"""Merges adapters into the weights, as PEFT does, to sample from, hand over or export them."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from rtt_lightning.runtime.finite import finite_only
from rtt_lightning.runtime.sharding import full_tensor, has_packed_weights, unpacked

LOST_IN_BF16 = (
    "samples come from adapters merged into bf16 weights: a change of less than 1/256 of a weight is not sampled from "
    "until it has grown. Nothing need be done while train/logprob_gap stays below 0.1; {switch} avoids it, more slowly"
)


def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and persistent buffer of the model without adapters, under its name there.

    Everything that PEFT adapted (linear layers, experts in one tensor, embeddings, modules that train in full) is
    merged and in fp32, so that a caller rounds once; the rest is unchanged. Tied tensors come once. A sharded model is
    gathered tensor by tensor: all processes must read to the end. One merged module exists at a time.

    Raises:
        FloatingPointError: At the first tensor that is not finite.
    """
    yield from finite_only(_merged_weights(model))


def _merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    plain = without_adapters(model)
    adapted = adapted_modules(plain)
    seen: set[int] = set()
    inside = "none."
    for path, module in plain.named_modules():
        if path in adapted:
            inside = f"{path}."
            yield from _all_tensors(_merged(module), path)
        elif not path.startswith(inside):
            own = [(name, tensor) for name, tensor in _own_tensors(module) if id(tensor) not in seen]
            seen.update(id(tensor) for _, tensor in own)
            yield from ((_join(path, name), full_tensor(unpacked(tensor))) for name, tensor in own)


@contextmanager
def adapters_merged(model: Any) -> Iterator[None]:
    """Run with the adapters merged into the weights: the fastest way to sample. Without adapters, nothing changes.

    Needs memory for a second copy of the adapted weights. Afterwards the very same base weights are back, so nothing
    drifts. A 4-bit base is not merged: its adapters run beside it, without a second copy.
    """
    if not is_wrapped(model) or has_packed_weights(model):
        yield
        return
    originals: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        for module in adapted_modules(model.get_base_model()).values():
            merged = _merged(module)
            for path, part in beneath(module).named_modules():
                for name, parameter in list(part.named_parameters(recurse=False)):
                    weight = merged.get_submodule(path).get_parameter(name).to(parameter.dtype)
                    originals.append((part, name, parameter))
                    setattr(part, name, nn.Parameter(weight, requires_grad=False))  # what is tied to it stays
        with model.disable_adapter():
            yield
    finally:
        for part, name, parameter in originals:
            setattr(part, name, parameter)


def adapters_count(model: nn.Module) -> bool:
    """Whether a policy may differ from its reference: false while its adapters add nothing. A collective."""
    if not is_wrapped(model):
        return True
    added = [
        full_tensor(p.detach()) for name, p in model.named_parameters() if p.requires_grad and ".lora_A." not in name
    ]
    return any(bool(weight.any()) for weight in added)


def merges_into_bf16(model: nn.Module) -> bool:
    """Whether `adapters_merged` rounds what it adds to bf16."""
    layers = adapted_modules(without_adapters(model)).values()
    return any(p.dtype == torch.bfloat16 for layer in layers for p in beneath(layer).parameters())


def is_wrapped(model: Any) -> bool:
    """Whether PEFT wrapped a model. PEFT is imported late: that takes two seconds, which many commands can save."""
    from peft import PeftModel

    return isinstance(model, PeftModel)


def is_peft_layer(module: Any) -> bool:
    """Whether a module replaces another one for PEFT: with adapters, or with a copy that trains in full."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)


def without_adapters(model: Any) -> nn.Module:
    """The model inside PEFT's wrapper, still with adapted modules."""
    return model.get_base_model() if is_wrapped(model) else model


def adapted_modules(plain: nn.Module) -> dict[str, Any]:
    """The outermost modules that PEFT replaced, by name."""
    found: dict[str, Any] = {}
    inside = "none."
    for path, module in plain.named_modules():
        if is_peft_layer(module) and not path.startswith(inside):
            found[path], inside = module, f"{path}."
    return found


def beneath(module: Any) -> nn.Module:
    """The plain module that runs while adapters are disabled."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    return module.original_module if isinstance(module, AuxiliaryTrainingWrapper) else module.get_base_layer()


@torch.no_grad()
def _merged(module: Any) -> nn.Module:
    """An adapted module, merged by PEFT, as a copy in fp32 with whole tensors. A collective."""
    copy = whole_copy(module)
    if has_packed_weights(module):  # its weights are unpacked by now, and need no packing
        from peft.tuners.lora import Linear

        Linear.merge(copy)
        return copy.get_base_layer()
    return merge(copy)


def whole_copy(module: Any) -> Any:
    """An independent copy in fp32 with whole tensors, in evaluation mode. A collective."""
    memo: dict[int, Any] = {id(p): nn.Parameter(_copy(p), requires_grad=False) for p in module.parameters()}
    memo |= {id(buffer): _copy(buffer) for buffer in module.buffers()}
    hooks = (value for part in module.modules() for name, value in vars(part).items() if name.endswith("hooks"))
    memo |= {id(shared): shared for shared in hooks}  # a dozen per part: copying them would take longer than merging
    return deepcopy(module, memo).eval()


def merge(module: Any) -> nn.Module:
    """Merge a module as `PeftModel.merge_and_unload` does; uses it up."""
    unload = getattr(module, "unload_and_optionally_merge_module", None)  # kinds with their own way
    if unload is not None:
        return unload(merge=True, safe_merge=False, adapter_names=None)
    module.merge()
    return module.get_base_layer()


def _copy(tensor: Tensor) -> Tensor:
    whole = full_tensor(unpacked(tensor))
    return whole.to(torch.float32 if whole.is_floating_point() else whole.dtype, copy=True)


def _all_tensors(module: nn.Module, path: str) -> Iterator[tuple[str, Tensor]]:
    for below, part in module.named_modules():
        yield from ((_join(path, _join(below, name)), tensor.detach()) for name, tensor in _own_tensors(part))


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers of a module, without those of the modules in it."""
    yield from module.named_parameters(recurse=False)
    for name, buffer in module.named_buffers(recurse=False):
        if name not in module._non_persistent_buffers_set:
            yield name, buffer


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
