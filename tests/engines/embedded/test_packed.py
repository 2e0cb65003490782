"""Packed layers compute what the layers do, and leave nothing behind."""

import pytest
import torch
from torch import nn

from rtt_lightning.engines.embedded.packed import linears_packed


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_those_of_the_layer(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    layer, states = nn.Linear(40, 24, bias, dtype=dtype), torch.randn(3, 5, 40, dtype=dtype)
    with torch.no_grad():
        expected = layer(states)
        with linears_packed(nn.Sequential(layer)):
            assert "forward" in vars(layer)
            found = layer(states)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_autocast_decides_the_dtype() -> None:
    layer, states = nn.Linear(40, 24), torch.randn(5, 40)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(states)
        with linears_packed(layer):
            torch.testing.assert_close(layer(states), expected)


def test_afterwards_changed_weights_count_again() -> None:
    layer, states = nn.Linear(4, 3), torch.ones(1, 4)
    with pytest.raises(KeyError), linears_packed(layer):
        raise KeyError
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert layer(states).tolist() == [[4, 4, 4]]
    assert layer(states).requires_grad


def test_a_layer_in_a_dtype_that_is_not_computed_so_stays_as_it_is() -> None:
    layer = nn.Linear(4, 3).double()
    with linears_packed(layer):
        assert "forward" not in vars(layer)
