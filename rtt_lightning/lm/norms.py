"""RMS norms by PyTorch's own function: on a GPU one kernel forward and one backward, where the code of a model has 22.

There small micro-batches and sampling wait for launches, not for arithmetic. On a CPU it costs about the same.
"""

from copy import deepcopy
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def use_rms_norm(model: nn.Module) -> None:
    """Have all modules that compute what `torch.nn.functional.rms_norm` does call it. Others stay as they are."""
    known: dict[type, bool] = {}
    for module in model.modules():
        own = [name for name, _ in module.named_parameters(recurse=False)]
        kept = "forward" in vars(module)  # by whoever hooked into it, such as to move it between devices
        if not kept and own == ["weight"] and isinstance(vars(module).get("variance_epsilon"), float):
            if type(module) not in known:
                known[type(module)] = _is_rms_norm(module)
            if known[type(module)]:
                module.forward = partial(_rms_norm, module)


def _rms_norm(module: Any, states: Tensor) -> Tensor:
    """``[... feature]``, computed in fp32 and rounded once, to the dtype that states and weight are promoted to."""
    dtype = torch.promote_types(states.dtype, module.weight.dtype)
    with torch.autocast(states.device.type, enabled=False):
        shape = module.weight.shape
        return F.rms_norm(states.to(dtype), shape, module.weight.to(dtype), module.variance_epsilon)


@torch.no_grad()
def _is_rms_norm(module: nn.Module) -> bool:
    """Whether a module is one, as a copy of it shows with a weight of another kind than it starts with."""
    if len(signature(module.forward).parameters) != 1:  # some take a gate too
        return False
    copy: Any = deepcopy(module).to_empty(device="cpu").float()
    features = torch.arange(1.0, copy.weight.numel() + 1, device="cpu")
    copy.weight.copy_(2 + features.sin())
    states = torch.stack([features.cos(), 5 * (features * features).sin() - 1])
    low = states.bfloat16()  # some give the states' dtype, whatever the weight's
    same = copy(low).dtype == _rms_norm(copy, low).dtype
    return same and torch.allclose(copy(states), _rms_norm(copy, states), rtol=1e-5, atol=1e-6)
