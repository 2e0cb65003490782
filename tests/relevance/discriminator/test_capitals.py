"""An uncased encoder tells capitals by token types, and reads all else as it was pretrained to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rtt_lightning.lm.loading import Lora
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.capitals import FIRST_TYPE, capitals, loses_capitals, with_capitals
from rtt_lightning.relevance.discriminator.checkpoint import load, save
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.source import relevance_of


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("tea", 0),
        ("12", 0),
        ("", 0),
        ("漢字", 0),
        ("Tea", 1),
        ("iPhone", 1),
        ("I", 1),
        ("TEA", 2),
        ("É.T", 2),
        ("U.S.", 2),
    ],
)
def test_kinds_of_words(word: str, kind: int) -> None:
    assert capitals(word) == kind


def test_ids_carry_them() -> None:
    assert with_capitals([7, 8, 9], [(0, 1), (2, 5), (6, 9)], "I saw TEA", 100) == [107, 8, 209]


def test_which_tokenizers_lose_them(real_model: str, real_encoder: str) -> None:
    assert loses_capitals(AutoTokenizer.from_pretrained(real_encoder))
    assert not loses_capitals(AutoTokenizer.from_pretrained(real_model))


@pytest.fixture(scope="module")
def model(real_encoder: str) -> RelevanceModel:
    torch.manual_seed(0)
    config = RelevanceConfig(real_encoder, layers=2, template="{criterion}", max_length=512)
    return build(config).requires_grad_(False).eval()


def rows(model: RelevanceModel, *responses: str) -> list[torch.Tensor]:
    return relevance_of(model, model.encode([(("Use capitals.",), response) for response in responses]), 1000)


@torch.no_grad()
def test_text_without_capitals_is_read_as_by_the_plain_model(model: RelevanceModel, real_encoder: str) -> None:
    plain: Any = AutoModelForTokenClassification.from_pretrained(real_encoder, num_labels=1, num_hidden_layers=2).eval()
    plain.classifier.load_state_dict(model.network.classifier.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(real_encoder)
    before, response = tokenizer("use capitals.")["input_ids"], tokenizer("a cup of tea", add_special_tokens=False)
    expected = plain(input_ids=torch.tensor([before + response["input_ids"]])).logits[0, len(before) :, 0].sigmoid()
    [found] = relevance_of(model, model.encode([(("use capitals.",), "a cup of tea")]), 1000)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


def test_a_trained_one_tells_them_apart_and_keeps_them_when_exported(model: RelevanceModel, tmp_path: Path) -> None:
    small, large = rows(model, "a cup of tea", "a cup of TEA")
    assert 1e-4 < (small - large).abs().max() < 0.1  # nothing is learned yet
    types = model.network.bert.embeddings.token_type_embeddings.weight
    assert model.network.config.to_dict()[FIRST_TYPE] == 2
    assert types.shape[0] == 4
    types[3] += torch.randn(types.shape[1])
    again, large = rows(model, "a cup of tea", "a cup of TEA")
    torch.testing.assert_close(again, small)
    assert (small - large).abs().max() > 0.01
    save(model, tmp_path, torch.float32)
    for one, other in zip(rows(load(str(tmp_path)), "a cup of TEA"), [large], strict=True):
        torch.testing.assert_close(one, other)


def test_adapters_leave_token_types_as_they_are(real_encoder: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="is uncased: capitals and small letters are the same to this discriminator"):
        model = build(RelevanceConfig(real_encoder, lora=Lora(2, 4.0), layers=1)).requires_grad_(False).eval()
    [expected] = rows(model, "a cup of TEA")
    save(model, tmp_path, torch.float32)
    torch.testing.assert_close(rows(load(str(tmp_path)), "a cup of TEA")[0], expected)
    model = build(RelevanceConfig(real_encoder, lora=Lora(2, 4.0), layers=1))
    assert model.network.get_base_model().bert.embeddings.token_type_embeddings.num_embeddings == 2
