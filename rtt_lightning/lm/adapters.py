"""LoRA beside a linear layer in few operations: y = x W^T + b + s (x A^T) B^T.

In bf16, forward and backward, PEFT takes 18 operations beside the layer's own two, among them a copy of x in fp32 for
each adapter; here it is ten. On a GPU these are launches, which is what a small micro-batch waits for; on a CPU memory
traffic.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class AdaptedLinear(Linear):
    """PEFT's layer with one adapter, without dropout; whatever else PEFT is asked for, it computes itself."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base: Any = self.get_base_layer()
        names = [name for name in self.active_adapters if name in self.lora_A]
        alone = len(names) == 1 and not self.disable_adapters and not self.merged
        if args or kwargs or x.dim() == 1 or not alone or not self._is_plain(name := names[0]):
            return super().forward(x, *args, **kwargs)
        down: Any = self.lora_A[name].weight
        up: Any = self.lora_B[name].weight
        dtype = _dtype_of(x, base.weight, down, up)
        if dtype is None:
            return super().forward(x)
        if "forward" in vars(base):  # in sampling, from `linears_packed`
            y, rows = base(x), x.to(dtype).flatten(0, -2)
            with torch.autocast(x.device.type, enabled=False):
                low = _scaled_product(rows, down.to(dtype).T, self.scaling[name])
                return torch.addmm(y.flatten(0, -2), low, up.to(dtype).T).view_as(y)
        return _Adapted.apply(x, base.weight, base.bias, down, up, self.scaling[name], dtype)  # pyright: ignore

    def _is_plain(self, name: str) -> bool:
        return isinstance(self.lora_dropout[name], nn.Identity) and name not in self.lora_variant


def _dtype_of(x: Tensor, *weights: Tensor) -> torch.dtype | None:
    """What autocast computes in; without it that of all, or ``None`` if they differ."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype if all(weight.dtype == x.dtype for weight in weights) else None


def use_few_operations(model: nn.Module) -> None:
    """Make PEFT's adapters of plain linear layers `AdaptedLinear`; others, such as those of 4-bit layers, stay."""
    for layer in model.modules():
        if type(layer) is Linear and type(layer.get_base_layer()) is nn.Linear:
            layer.__class__ = AdaptedLinear


def _scaled_product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """In one operation; what is added to it counts 0 times."""
    return torch.addmm(one.new_empty(len(one), other.shape[1]), one, other, beta=0, alpha=scale)


class _Adapted(torch.autograd.Function):
    """``x [... in]``, ``weight [out in]`` (frozen), ``bias [out]`` or none (frozen), ``a [rank in]``, ``b [out rank]``.

    With low = s x A^T: dB = dy^T low, dlow = s dy B, dA = dlow^T x, dx = dy W + dlow A.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, dtype: torch.dtype
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            rows, down, up = x.to(dtype).flatten(0, -2), a.to(dtype), b.to(dtype)
            low = _scaled_product(rows, down.T, scale)
            y = F.linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))
            y.addmm_(low, up.T)
        ctx.save_for_backward(rows, low, weight, down, up)
        ctx.scale, ctx.dtypes = scale, (x.dtype, a.dtype, b.dtype)
        return y.unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        rows, low, weight, down, up = ctx.saved_tensors
        of_x, of_a, of_b = ctx.dtypes
        by_y = grads[0].to(rows.dtype).flatten(0, -2)
        by_low = _scaled_product(by_y, up, ctx.scale)
        by_a, by_b = (by_low.T @ rows).to(of_a), (by_y.T @ low).to(of_b)
        if not ctx.needs_input_grad[0]:
            return None, None, None, by_a, by_b, None, None
        by_x = (by_y @ weight.to(rows.dtype)).addmm_(by_low, down)
        return by_x.to(of_x).unflatten(0, grads[0].shape[:-1]), None, None, by_a, by_b, None, None
