"""Responses that share a prompt are computed in one sequence, and come out as if each had been alone."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Lfm2Config, MistralConfig, PreTrainedConfig

from rtt_lightning.lm.attention import use_segments
from rtt_lightning.lm.forward import response_logprobs

# Prompts A and B are of 3 and 2 tokens; rows A B A A B, with responses of 2, 3, 1, 0 and 3 tokens.
BATCH = {
    "prompt_ids": torch.tensor([[5, 6, 7], [8, 9, 0], [5, 6, 7], [5, 6, 7], [8, 9, 0]]),
    "prompt_lengths": torch.tensor([3, 2, 3, 3, 2]),
    "response_ids": torch.tensor([[20, 21, 0], [22, 23, 24], [25, 0, 0], [0, 0, 0], [22, 23, 9]]),
    "response_mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]).bool(),
    "temperature": torch.tensor([1.0, 1.0, 0.7, 1.0, 0.5]),
}


@pytest.fixture
def model(tiny_model: str):
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    use_segments(model)
    return model


def alone(model, batch: Mapping[str, Tensor]) -> Tensor:
    """Log-probs ``[batch token]`` of each row run on its own, from the whole logits of the model."""
    result = torch.zeros(batch["response_mask"].shape)
    for i, (start, length) in enumerate(zip(batch["prompt_lengths"], batch["response_mask"].sum(1), strict=True)):
        response = batch["response_ids"][i, :length]
        ids = torch.cat([batch["prompt_ids"][i, :start], response])
        logits = model(input_ids=ids[None]).logits[0, start - 1 : start - 1 + length] / batch["temperature"][i]
        result[i, :length] = logits.log_softmax(-1).gather(-1, response[:, None])[:, 0]
    return result


def computed(model, batch: Mapping[str, Tensor]) -> tuple[Tensor, torch.Size]:
    """Log-probs, and the shape of what the body read."""
    shapes = []
    hook = model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    logprobs, _ = response_logprobs(model, batch)
    hook.remove()
    (shape,) = shapes
    return logprobs, shape


def test_a_prompt_is_computed_once_for_all_its_responses(model) -> None:
    logprobs, shape = computed(model, BATCH)
    assert shape == (1, 14)  # A with 3 + 2 + 1 + 0 tokens, then B with 2 + 3 + 3
    torch.testing.assert_close(logprobs, alone(model, BATCH), atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_separate_rows(model) -> None:
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    gradients = []
    for run in (lambda: response_logprobs(model, BATCH)[0], lambda: alone(model, BATCH)):
        model.zero_grad()
        (run() * weight).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-4)


def test_rows_in_another_order_give_the_same(model) -> None:
    order = torch.tensor([4, 2, 0, 3, 1])
    mixed = response_logprobs(model, {name: value[order] for name, value in BATCH.items()})
    for one, other in zip(response_logprobs(model, BATCH), mixed, strict=True):
        torch.testing.assert_close(one[order], other, atol=1e-5, rtol=1e-5)


def test_what_stands_in_the_padding_does_not_matter(model) -> None:
    """Lengths come from lengths: neither prompts nor responses are told by their pad id."""
    other = {name: value.clone() for name, value in BATCH.items()}
    other["prompt_ids"][1, 2] = 77
    other["response_ids"][~other["response_mask"]] = 88
    assert torch.equal(computed(model, other)[0], computed(model, BATCH)[0])
    assert computed(model, other)[1] == (1, 14)


def test_attention_that_knows_no_segments_reads_plain_rows(tiny_model: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation="eager")
    logprobs, shape = computed(model, BATCH)
    assert shape == (5, 5)
    torch.testing.assert_close(logprobs, alone(model, BATCH), atol=1e-5, rtol=1e-5)


SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,  # weights so large that what a position sees shows
}


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(num_hidden_layers=2, sliding_window=2, **SIZES),
        Lfm2Config(layer_types=["conv", "full_attention"], num_hidden_layers=2, **SIZES),
    ],
    ids=["windowed", "convolutional"],
)
def test_layers_that_know_no_segments_read_plain_rows(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    use_segments(model)
    logprobs, shape = computed(model, BATCH)
    assert shape == (5, 5)
    torch.testing.assert_close(logprobs, alone(model, BATCH), atol=1e-4, rtol=1e-4)


def test_without_sharing_rows_are_padded(model) -> None:
    shapes = []
    model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    logprobs, _ = response_logprobs(model, BATCH, share=False)
    assert shapes == [(5, 5)]
    torch.testing.assert_close(logprobs, alone(model, BATCH), atol=1e-5, rtol=1e-5)
