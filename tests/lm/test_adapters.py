"""Adapters in few operations are PEFT's."""

from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from rtt_lightning.engines.embedded.packed import linears_packed
from rtt_lightning.lm.adapters import AdaptedLinear, use_few_operations

STATES = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


def adapted(bias: bool = True, dtype: torch.dtype = torch.float32) -> Any:
    """One layer of 12 to 8 features with an adapter that adds something, by PEFT."""
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(12, 8, bias=bias, dtype=dtype))
    model: Any = get_peft_model(base, LoraConfig(r=3, lora_alpha=5, target_modules=["0"])).float()  # pyright: ignore
    layer: Any = base[0]
    layer.get_base_layer().to(dtype)
    nn.init.normal_(layer.lora_B["default"].weight)
    return model


def ours(model: Any) -> Any:
    copy = deepcopy(model)
    use_few_operations(copy)
    return copy


def results(model: Any, states: Tensor) -> list[Tensor]:
    """What a layer gives, and all gradients of a sum with weights."""
    states = states.clone().requires_grad_()
    y = model(states)
    (y.float() * torch.arange(8)).sum().backward()
    trained = [p.grad for p in model.parameters() if p.requires_grad]
    assert len(trained) == 2
    return [y.detach(), states.grad, *trained]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_peft(bias: bool) -> None:
    model = adapted(bias)
    for one, other in zip(results(ours(model), STATES), results(model, STATES), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("base", "states"), list(product([torch.float32, torch.bfloat16], repeat=2)))
def test_under_autocast_too_but_for_rounding(base: torch.dtype, states: torch.dtype) -> None:
    model = adapted(dtype=base)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = results(ours(model), STATES.to(states)), results(model, STATES.to(states))
    exact = results(adapted(dtype=base).float(), STATES.to(states).float())
    for one, other, right in zip(found, expected, exact, strict=True):
        assert one.dtype == other.dtype
        assert (one - right).norm() <= max(1.1 * (other - right).norm(), 2**-7 * right.norm())


def test_states_without_a_gradient_get_none() -> None:
    model = ours(adapted())
    model(STATES).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_a_disabled_or_merged_adapter_is_peft_s_own() -> None:
    model = ours(adapted())
    layer = model.base_model.model[0]
    assert type(layer) is AdaptedLinear
    with model.disable_adapter():
        assert torch.equal(model(STATES), layer.get_base_layer()(STATES))
    before = model(STATES)
    assert not torch.equal(before, layer.get_base_layer()(STATES))
    layer.merge()
    torch.testing.assert_close(model(STATES), before)


def test_a_packed_base_is_used_while_sampling() -> None:
    model = ours(adapted())
    before = model(STATES)
    with torch.no_grad(), linears_packed(model):
        model.base_model.model[0].get_base_layer().weight.data.zero_()  # the packed copy counts
        torch.testing.assert_close(model(STATES), before)


def test_mixed_dtypes_without_autocast_are_peft_s() -> None:
    model = adapted(dtype=torch.bfloat16)
    assert torch.equal(ours(model)(STATES.bfloat16()), model(STATES.bfloat16()))


def test_other_layers_stay() -> None:
    class Own(nn.Linear):
        """Computes something of its own."""

    base = nn.Sequential(Own(12, 8))
    model = get_peft_model(base, LoraConfig(r=3, target_modules=["0"]))  # pyright: ignore[reportArgumentType]
    use_few_operations(model)
    assert type(base[0]) is Linear
