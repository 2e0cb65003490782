"""Attention in groups gives what `transformers` computes, and is in place only while responses are sampled."""

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rtt_lightning.engines.embedded.attention import NAME, grouped_attention, grouped_sdpa


@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (4, 1)])
@pytest.mark.parametrize("positions", [1, 5])
@pytest.mark.parametrize("masked", [True, False])
def test_groups_attend_as_with_copied_keys(heads: int, groups: int, positions: int, masked: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, heads, positions, 8)
    key, value = torch.randn(3, groups, 9, 8), torch.randn(3, groups, 9, 8)
    mask = torch.rand(3, 1, positions, 9) > 0.4 if masked else None
    layer = SimpleNamespace(num_key_value_groups=heads // groups, is_causal=True)
    for scaling in (None, 0.5):
        ours, _ = grouped_sdpa(layer, query, key, value, mask, scaling=scaling)
        theirs, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=scaling)
        assert ours.shape == theirs.shape == (3, positions, heads, 8)
        torch.testing.assert_close(ours, theirs)


def tiny(attention: str) -> LlamaForCausalLM:
    shape = {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=8, intermediate_size=16, attn_implementation=attention, **shape))


def test_a_model_attends_in_groups_to_what_it_has_cached() -> None:
    model, ids = tiny("sdpa"), torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    expected = model(ids, attention_mask=mask).logits[:, -1]
    with grouped_attention(model):
        assert model.config._attn_implementation == NAME
        cache = model(ids[:, :3], attention_mask=mask[:, :3]).past_key_values
        last = model(ids[:, 3:], attention_mask=mask, past_key_values=cache).logits[:, 0]
    torch.testing.assert_close(last, expected)


def test_an_error_while_sampling_leaves_no_trace() -> None:
    model = tiny("sdpa")
    with pytest.raises(KeyError), grouped_attention(model):
        raise KeyError
    assert model.config._attn_implementation == "sdpa"


def test_other_attention_stays() -> None:
    model = tiny("eager")
    with grouped_attention(model):
        assert model.config._attn_implementation == "eager"
