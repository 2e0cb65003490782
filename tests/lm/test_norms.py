"""RMS norms by PyTorch's function."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextRMSNormGated

from rtt_lightning.lm.norms import use_rms_norm

STATES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


def norm(kind: Any, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    made = kind(16, eps=0.1).to(dtype)
    nn.init.normal_(made.weight)
    return made


def replaced(module: Any) -> Any:
    model = nn.Sequential(deepcopy(module))
    use_rms_norm(model)
    return model[0]


def test_values_and_gradients_are_the_model_s() -> None:
    found = []
    for module in (replaced(norm(Qwen3RMSNorm)), norm(Qwen3RMSNorm)):
        states = STATES.clone().requires_grad_()
        y = module(states)
        (y * torch.arange(16)).sum().backward()
        found.append((y, states.grad, module.weight.grad))
    assert "forward" in vars(replaced(norm(Qwen3RMSNorm)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight", [torch.float32, torch.bfloat16])
def test_dtypes_are_the_model_s(states: torch.dtype, weight: torch.dtype) -> None:
    module = norm(Qwen3RMSNorm, weight)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = replaced(module)(STATES.to(states)), module(STATES.to(states))
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-7)


def test_a_norm_of_another_formula_stays() -> None:
    """Gemma scales by 1 + weight."""

    class Lookalike(Gemma2RMSNorm):
        def __init__(self, features: int, eps: float) -> None:
            super().__init__(features, eps)
            self.variance_epsilon = eps

    assert "forward" not in vars(replaced(norm(Lookalike)))


def test_a_norm_that_gives_the_states_dtype_stays() -> None:
    assert "forward" not in vars(replaced(norm(Olmo2RMSNorm)))


def test_a_norm_that_someone_hooked_into_stays() -> None:
    module = norm(Qwen3RMSNorm)
    module.forward = lambda states: states
    use_rms_norm(nn.Sequential(module))
    assert torch.equal(module(STATES), STATES)


def test_a_norm_with_a_gate_stays() -> None:
    module = replaced(norm(Qwen3NextRMSNormGated))
    assert "forward" not in vars(module)
    assert module(STATES, STATES).shape == STATES.shape


def test_a_copy_of_a_model_has_its_own() -> None:
    module = replaced(norm(Qwen3RMSNorm))
    copy = deepcopy(module)
    nn.init.zeros_(copy.weight)
    assert not copy(STATES).any()
    assert module(STATES).any()


def test_what_has_no_values_yet_is_tried_out_all_the_same() -> None:
    with torch.device("meta"):
        assert "forward" in vars(replaced(Qwen3RMSNorm(16)))
