"""Pairs read together have the relevance of each read alone, whatever the body, and cost what is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from rtt_lightning.lm.loading import Lora
from rtt_lightning.relevance.discriminator.network import EncodedPair, RelevanceConfig, RelevanceModel
from rtt_lightning.relevance.discriminator.source import _batches, relevance_of

CRITERIA = ["Use owl.", "Write at length about the birds of the night."]
RESPONSES = ["we saw an owl by the sea", "no", "", "a red map of the sky and the sea with an owl on it", "an owl"]
PAIRS = [criterion for _ in RESPONSES for criterion in CRITERIA], [text for text in RESPONSES for _ in CRITERIA]
SIZES: dict[str, Any] = {"vocab_size": 49_160, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BODIES = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES, intermediate_size=32)),  # reads to both sides
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**SIZES)),  # has learnt positions
}


def network(body: str, tiny_model: str, folder: Path, **config: Any) -> RelevanceModel:
    torch.manual_seed(0)
    if body in BODIES:
        BODIES[body]().save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    model = RelevanceModel(RelevanceConfig(str(folder) if body in BODIES else tiny_model, **config))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.requires_grad_(False).eval()


def alone(model: RelevanceModel, pair: EncodedPair) -> Tensor:
    """By the network itself."""
    ids = torch.tensor([[*pair.prefix, *pair.response.tolist()]])
    return model.network(input_ids=ids).logits[0, len(pair.prefix) :, 0].sigmoid()


@pytest.mark.parametrize(
    ("body", "config", "shares"),
    [("llama", {}, True), ("llama", {"lora": Lora(4, 8.0)}, True), ("bert", {}, False), ("gpt2", {}, True)],
)
def test_pairs_have_the_relevance_of_each_alone(
    body: str, config: dict[str, Any], shares: bool, tiny_model: str, tmp_path: Path
) -> None:
    model = network(body, tiny_model, tmp_path, **config)
    pairs = model.encode(*PAIRS)
    expected = [alone(model, pair) for pair in pairs]
    assert torch.cat(expected).std() > 0.01
    assert model.shares() == shares
    for tokens in (1, 60, 10_000):
        for found, one in zip(relevance_of(model, pairs, tokens), expected, strict=True):
            torch.testing.assert_close(found, one, atol=1e-5, rtol=0)


def test_a_text_is_tokenised_once(tiny_model: str, tmp_path: Path) -> None:
    pairs = network("llama", tiny_model, tmp_path).encode(*PAIRS)
    assert len({id(pair.prefix) for pair in pairs}) == len(CRITERIA)
    assert len({id(pair.offsets) for pair in pairs if pair.offsets}) <= len(PAIRS[0])
    assert len({pair.response.data_ptr() for pair in pairs if len(pair.response)}) == len(RESPONSES) - 1


def test_a_batch_holds_what_its_tokens_allow() -> None:
    one, other = (1,) * 10, (2,) * 20
    shape = [(one, 5), (other, 30), (one, 6), (other, 1), (one, 0), (one, 70)]
    pairs = [EncodedPair(prefix, torch.zeros(length).long(), (), 0) for prefix, length in shape]
    # A prefix counts once: 10 + 5 + 6 = 21, then 10 + 70 alone, then 20 + 30 + 1 = 51.
    assert list(_batches(pairs, 60, share=True)) == [[0, 2], [5], [1, 3]]
    # Lengths 15, 16, 21, 50, 80: 3 x 21 = 63 would be more than 60.
    assert list(_batches(pairs, 60, share=False)) == [[0, 2], [3], [1], [5]]
    assert list(_batches(pairs[4:5], 60, share=True)) == []
