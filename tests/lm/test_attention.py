"""Attention over segments gives what a mask of all positions gives; so does each way of computing it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rtt_lightning.lm import attention
from rtt_lightning.lm.attention import NAME, Segment, Segments, attend, use_segments

CPU = torch.device("cpu")


def segments(*groups: tuple[int, list[int]]) -> Segments:
    """Of prompts with responses, by their lengths."""
    each, at = [], 0
    for prompt, responses in groups:
        prefix = slice(at, at + prompt)
        each.append(Segment(prefix, slice(0, 0)))
        at += prompt
        for length in responses:
            each.append(Segment(slice(at, at + length), prefix))
            at += length
    return Segments(each, CPU)


def states(packed: Segments, heads: int, groups: int, features: int = 8, wide: int = 8) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    tokens = packed.each[-1].own.stop
    shapes = (heads, features), (groups, features), (groups, wide)
    return tuple(torch.randn(1, count, tokens, size, generator=generator).requires_grad_() for count, size in shapes)


def layer(heads: int, groups: int) -> Any:
    return SimpleNamespace(num_key_value_groups=heads // groups, is_causal=True)


def with_gradients(output: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return [output, *torch.autograd.grad((output * weight).sum(), inputs)]


def test_a_response_sees_its_prompt_and_itself() -> None:
    assert segments((2, [1, 2]), (1, [1])).mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],  # the first prompt
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],  # its first response
        [1, 1, 0, 1, 0, 0, 0],  # its second one
        [1, 1, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],  # the second prompt
        [0, 0, 0, 0, 0, 1, 1],
    ]


LENGTHS = st.integers(1, 9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(LENGTHS, st.lists(LENGTHS, max_size=3)), min_size=1, max_size=3),
    st.sampled_from([(6, 2), (4, 4), (4, 1)]),
    st.sampled_from([1, 100, 2**18]),
    st.sampled_from([None, 0.5]),
)
def test_tiles_give_values_and_gradients_of_the_mask(
    groups: list[tuple[int, list[int]]], sizes: tuple[int, int], numel: int, scaling: float | None
) -> None:
    packed = segments(*groups)
    query, key, value = inputs = states(packed, *sizes, wide=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "TILE_NUMEL", numel)
        ours, _ = attend(layer(*sizes), query, key, value, None, scaling, packed)
        found = with_gradients(ours, inputs)
    theirs, _ = sdpa_attention_forward(layer(*sizes), query, key, value, packed.mask, scaling=scaling)
    for one, other in zip(found, with_gradients(theirs, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_long_segments_are_cut_into_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of a tile are as many as the limit says, whatever the lengths: memory grows with tokens alone."""
    monkeypatch.setattr(attention, "TILE_NUMEL", 2**14)
    heads = 4
    for tile in attention._tiles(segments((100, [700, 30])), heads):
        own, prefix, seen = (part.stop - part.start for part in tile)
        assert own * heads * (prefix + seen) <= 2**14 or own <= 16


def test_in_bf16_it_is_as_near_to_the_exact_values_as_the_mask() -> None:
    packed = segments((40, [30, 17]), (5, [60]))
    inputs = states(packed, 6, 2, features=64, wide=64)
    exact = with_gradients(attend(layer(6, 2), *inputs, None, None, packed)[0], inputs)
    errors = []
    for way in (packed, None):
        low = tuple(tensor.detach().bfloat16().requires_grad_() for tensor in inputs)
        mask = None if way else packed.mask
        found = with_gradients(attend(layer(6, 2), *low, mask, None, way)[0], low)
        errors.append([(one - other).square().mean().sqrt() for one, other in zip(found, exact, strict=True)])
    assert all(ours < 1.5 * theirs for ours, theirs in zip(*errors, strict=True))


def plain_kernel(query: Tensor, key: Tensor, value: Tensor, *bounds: Any, **kwargs: Any) -> Tensor:
    """What the variable-length kernel of a GPU computes: per segment, causal and aligned at the last position."""
    starts, key_starts, longest, longest_keys = bounds
    assert kwargs["window_size"] == (-1, 0)
    assert (longest, longest_keys) == (int(starts.diff().max()), int(key_starts.diff().max()))
    outputs = []
    for i in range(len(starts) - 1):
        q, k, v = (
            part.transpose(0, 1)
            for part in (
                query[starts[i] : starts[i + 1]],
                key[key_starts[i] : key_starts[i + 1]],
                value[key_starts[i] : key_starts[i + 1]],
            )
        )
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        outputs.append(scaled_dot_product_attention(q, k, v, mask, scale=kwargs["scale"], enable_gqa=True))
    return torch.cat(outputs, 1).transpose(0, 1)


def test_what_a_gpu_is_given_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "varlen_attn", plain_kernel)
    monkeypatch.setattr(attention, "_fits_kernel", lambda query, value: True)
    packed = replace(segments((3, [2, 4]), (1, []), (2, [5])), kernel=True)
    query, key, value = inputs = states(packed, 6, 2)
    ours, _ = attend(layer(6, 2), query, key, value, None, 0.3, packed)
    theirs, _ = sdpa_attention_forward(layer(6, 2), query, key, value, packed.mask, scaling=0.3)
    for one, other in zip(with_gradients(ours, inputs), with_gradients(theirs, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_layer_with_a_bias_of_its_own_keeps_it() -> None:
    packed = segments((3, [2, 4]))
    query, key, value = states(packed, 4, 4)
    bias = torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(2))
    ours, _ = attend(layer(4, 4), query, key, value, None, None, packed, position_bias=bias)
    theirs = scaled_dot_product_attention(query, key, value, bias.masked_fill(~packed.mask, -torch.inf))
    torch.testing.assert_close(ours, theirs.transpose(1, 2))


# -- without segments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (4, 1)])
@pytest.mark.parametrize("positions", [1, 5])
@pytest.mark.parametrize("masked", [True, False])
def test_without_segments_it_is_sdpa(heads: int, groups: int, positions: int, masked: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, heads, positions, 8)
    key, value = torch.randn(3, groups, 9, 8), torch.randn(3, groups, 9, 8)
    mask = torch.rand(3, 1, positions, 9) > 0.4 if masked else None
    for scaling in (None, 0.5):
        ours, _ = attend(layer(heads, groups), query, key, value, mask, scaling)
        theirs, _ = sdpa_attention_forward(layer(heads, groups), query, key, value, mask, scaling=scaling)
        assert ours.shape == theirs.shape == (3, positions, heads, 8)
        torch.testing.assert_close(ours, theirs)


def tiny(implementation: str) -> LlamaForCausalLM:
    shape = {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=8, intermediate_size=16, attn_implementation=implementation, **shape)
    )


def test_a_model_attends_to_padded_rows_and_to_what_it_has_cached_as_before() -> None:
    model, ids = tiny("sdpa"), torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    expected = model(ids, attention_mask=mask).logits
    use_segments(model)
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(model(ids, attention_mask=mask).logits[1:], expected[1:])
    cache = model(ids[:, :3], attention_mask=mask[:, :3]).past_key_values
    last = model(ids[:, 3:], attention_mask=mask, past_key_values=cache).logits[:, 0]
    torch.testing.assert_close(last, expected[:, -1])


def test_other_attention_stays() -> None:
    model = tiny("eager")
    use_segments(model)
    assert model.config._attn_implementation == "eager"


def test_a_saved_configuration_names_no_attention_of_ours(tmp_path: Any) -> None:
    model = tiny("sdpa")
    use_segments(model)
    model.save_pretrained(tmp_path)
    assert NAME + '"' not in (tmp_path / "config.json").read_text()
    assert LlamaForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
