"""What is read together has the relevance of what is read alone, whatever the body, and costs what is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from rtt_lightning.lm.loading import Lora
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.one_pass import WIDTH
from rtt_lightning.relevance.discriminator.readings import Reading, windows
from rtt_lightning.relevance.discriminator.source import _batches, relevance_of

CRITERIA = ("Use owl.", "Write at length about the birds of the night.", "No map.")
RESPONSES = ["we saw an owl by the sea", "no", "", "a red map of the sky and the sea with an owl on it", "an owl"]
PAIRS = [((criterion,), text) for text in RESPONSES for criterion in CRITERIA]
RUBRICS = [(CRITERIA[: 1 + index % 3], text) for index, text in enumerate(RESPONSES)]
SIZES: dict[str, Any] = {"vocab_size": 49_160, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BODIES = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES, intermediate_size=32)),  # reads to both sides
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES, intermediate_size=32)),  # has positions from 2 on
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**SIZES)),  # has learnt positions
}


def network(body: str, tiny_model: str, folder: Path, **config: Any) -> RelevanceModel:
    torch.manual_seed(0)
    if body in BODIES:
        BODIES[body]().save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    model = build(RelevanceConfig(str(folder) if body in BODIES else tiny_model, **config))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.requires_grad_(False).eval()


def alone(model: RelevanceModel, reading: Reading) -> Tensor:
    """Of a criterion, by the network itself."""
    [prefix] = reading.prefixes
    ids = torch.tensor([[*prefix, *reading.response.tolist()]])
    return model.network(input_ids=ids).logits[:, len(prefix) :, 0].sigmoid()


@pytest.mark.parametrize(
    ("body", "config"), [("llama", {}), ("llama", {"lora": Lora(4, 8.0)}), ("bert", {}), ("roberta", {}), ("gpt2", {})]
)
def test_pairs_have_the_relevance_of_each_alone(
    body: str, config: dict[str, Any], tiny_model: str, tmp_path: Path
) -> None:
    model = network(body, tiny_model, tmp_path, **config)
    readings = model.encode(PAIRS)
    expected = [alone(model, reading) for reading in readings]
    assert torch.cat(expected, 1).std() > 0.01
    assert (model.packs(), model.shares()) == (True, body in ("llama", "gpt2"))
    for tokens in (1, 60, 10_000):
        for found, one in zip(relevance_of(model, readings, tokens), expected, strict=True):
            torch.testing.assert_close(found, one, atol=1e-5, rtol=0)


def by_a_mask(model: RelevanceModel, folder: str, reading: Reading, first: int) -> Tensor:
    """``[criterion token]`` relevance of one reading: by `transformers` alone, with a mask of all positions."""
    plain = AutoModelForTokenClassification.from_pretrained(folder, num_labels=2 * WIDTH, attn_implementation="eager")
    plain.load_state_dict(model.network.state_dict())
    causal = model.body.causal
    parts = [[*prefix] for prefix in reading.prefixes] + [reading.response.tolist()]
    starts = [0] * len(reading.prefixes) + [max(map(len, reading.prefixes))]
    owner = torch.tensor([n for n, part in enumerate(parts) for _ in part])
    sees = (owner[:, None] == owner) | (owner == len(parts) - 1)[:, None]
    own = owner[:, None] == owner
    sees &= ~own | (torch.ones_like(own).tril() if causal else own)
    positions = torch.tensor(
        [[first + start + i for start, part in zip(starts, parts, strict=True) for i in range(len(part))]]
    )
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]
    ids = torch.tensor([[token for part in parts for token in part]])
    states = plain.eval()(input_ids=ids, position_ids=positions, attention_mask=mask).logits[0]
    criteria = [states[owner == n] for n in range(len(parts) - 1)]
    pooled = torch.stack([each[-1] if causal else each.mean(0) for each in criteria])
    return (pooled[:, WIDTH:] @ states[owner == len(parts) - 1, :WIDTH].T).sigmoid()


@pytest.mark.parametrize("body", ["llama", "gpt2", "bert", "roberta"])
@torch.no_grad()
def test_one_pass_reads_what_a_mask_would_let_it_see(body: str, tiny_model: str, tmp_path: Path) -> None:
    model = network(body, tiny_model, tmp_path, one_pass=True)
    readings = model.encode(RUBRICS)
    folder = str(tmp_path) if body in BODIES else tiny_model
    expected = [by_a_mask(model, folder, reading, 2 if body == "roberta" else 0) for reading in readings]
    assert torch.cat([rows.flatten() for rows in expected]).std() > 0.01
    for tokens in (1, 60, 10_000):
        for found, one in zip(relevance_of(model, readings, tokens), expected, strict=True):
            torch.testing.assert_close(found, one, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("body", "lora"), [("llama", None), ("llama", Lora(4, 8.0)), ("bert", None)])
@torch.no_grad()
def test_the_order_of_criteria_changes_nothing(body: str, lora: Lora | None, tiny_model: str, tmp_path: Path) -> None:
    model = network(body, tiny_model, tmp_path, one_pass=True, lora=lora)
    [found] = relevance_of(model, model.encode([(CRITERIA, RESPONSES[0])]), 1)
    [other] = relevance_of(model, model.encode([(CRITERIA[::-1], RESPONSES[0])]), 1)
    torch.testing.assert_close(found, other.flip(0), atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 0.01
    [without] = relevance_of(model, model.encode([(CRITERIA[:1], RESPONSES[0])]), 1)
    assert (without - found[:1]).abs().max() > 1e-4  # a response sees all of its criteria


@pytest.mark.parametrize("body", ["llama", "bert"])
@torch.no_grad()
def test_a_criterion_that_stands_twice_is_seen_once(body: str, tiny_model: str, tmp_path: Path) -> None:
    """As where two responses to a prompt are equal, and their pairs come together."""
    model = network(body, tiny_model, tmp_path, one_pass=True)
    once, twice = (
        relevance_of(model, model.encode([(rubric, RESPONSES[0])]), 1)[0] for rubric in (CRITERIA, CRITERIA + CRITERIA)
    )
    torch.testing.assert_close(twice, torch.cat([once, once]), atol=1e-6, rtol=0)


def test_a_body_whose_layers_ignore_segments_is_an_error(tiny_model: str) -> None:
    model = build(RelevanceConfig(tiny_model, one_pass=True))
    model.network.config._attn_implementation = "eager"
    with pytest.raises(ValueError, match=r"LlamaForTokenClassification of .* cannot read all criteria in one pass"):
        model(model.encode(RUBRICS))


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("body", ["llama", "bert"])
@torch.no_grad()
def test_logits_are_in_fp32_whatever_the_body_computes_in(
    body: str, one_pass: bool, tiny_model: str, tmp_path: Path
) -> None:
    model = network(body, tiny_model, tmp_path, one_pass=one_pass)
    readings = model.encode(RUBRICS if one_pass else PAIRS)
    exact, _ = model(readings)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = model(readings)
        rows = relevance_of(model, readings, 100)
    assert rounded.dtype == rows[0].dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=0.1, rtol=0.1)


# -- long responses ------------------------------------------------------------------------------------------------


def test_windows_by_hand() -> None:
    assert windows(8, 8) == [(0, 8, 0, 8)]
    assert windows(10, 8) == [(0, 8, 0, 5), (2, 10, 5, 10)]
    assert windows(20, 8) == [(0, 8, 0, 7), (6, 14, 7, 13), (12, 20, 13, 20)]
    assert windows(0, 8) == [(0, 0, 0, 0)]


@given(st.integers(0, 300), st.integers(1, 40))
def test_each_token_is_kept_of_one_window_which_reads_around_it(length: int, room: int) -> None:
    found = windows(length, room)
    assert [token for each in found for token in range(each.first, each.last)] == [*range(length)]
    for each in found:
        assert 0 <= each.start <= each.first <= each.last <= each.stop <= length
        assert each.stop - each.start == min(room, length)
        assert each.first in (0, *range(each.start + room // 8, length))


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("body", ["llama", "bert"])
@torch.no_grad()
def test_a_long_response_is_read_in_windows(body: str, one_pass: bool, tiny_model: str, tmp_path: Path) -> None:
    model = network(body, tiny_model, tmp_path, one_pass=one_pass, max_length=48)
    text = " ".join(f"word {number}" for number in range(60))
    criteria = CRITERIA if one_pass else CRITERIA[:1]
    short, reading = model.encode([(criteria, "an owl"), (criteria, text)])
    logits, mask = model([short, reading])
    room = 48 - max(map(len, reading.prefixes))
    parts = windows(len(reading.response), room)
    assert len(parts) > 3
    for part in parts:
        response = reading.response[part.start : part.stop]
        expected, _ = model([Reading(reading.prefixes, response, ())])
        kept = expected[:, part.first - part.start : part.last - part.start]
        torch.testing.assert_close(logits[len(criteria) :, part.first : part.last], kept, atol=1e-5, rtol=0)
    assert mask.sum(1).tolist() == [len(short.response)] * len(criteria) + [len(reading.response)] * len(criteria)


@pytest.mark.parametrize("one_pass", [False, True])
def test_a_criterion_that_leaves_no_room_is_not_read(one_pass: bool, tiny_model: str, tmp_path: Path) -> None:
    model = network("llama", tiny_model, tmp_path, one_pass=one_pass, max_length=40)
    criteria = ("Use owl.", "Mention tea, " * 20)
    readings = model.encode(model.together(criteria, "an owl"))
    assert [is_read for reading in readings for is_read in reading.read] == [True, False]
    logits, mask = model(readings)
    assert mask.tolist() == [[True] * 2, [False] * 2]
    assert logits[0].all()
    assert not logits[1].any()
    rows = torch.cat(relevance_of(model, readings, 100))
    assert rows[0].all()
    assert not rows[1].any()
    unread = model.encode([(("Mention tea, " * 20,), "an owl"), (("Use owl.",), "")])
    logits, mask = model(unread)
    assert not mask.any()
    assert not logits.any()
    assert logits.shape == mask.shape


def test_no_input_is_longer_than_the_body_has_positions(tiny_model: str, tmp_path: Path) -> None:
    model = network("bert", tiny_model, tmp_path)
    assert (model.config.max_length, model.longest) == (4096, 512)
    [reading] = model.encode([(("Use owl.",), "owl " * 900)])
    assert model([reading])[1].sum() == len(reading.response) > 900


# -- cost ------------------------------------------------------------------------------------------------------------


def test_a_text_is_tokenised_once(tiny_model: str, tmp_path: Path) -> None:
    readings = network("llama", tiny_model, tmp_path).encode(PAIRS)
    assert len({id(reading.prefixes[0]) for reading in readings}) == len(CRITERIA)
    assert len({id(reading.offsets) for reading in readings if reading.offsets}) <= len(RESPONSES)
    assert len({reading.response.data_ptr() for reading in readings if len(reading.response)}) == len(RESPONSES) - 1


def test_a_batch_holds_what_its_tokens_allow() -> None:
    one, other = (1,) * 10, (2,) * 20
    shape = [(one, 5), (other, 30), (one, 6), (other, 1), (one, 0), (one, 70)]
    readings = [Reading((prefix,), torch.zeros(length).long(), ()) for prefix, length in shape]
    # A prefix counts once: 10 + 5 + 6 = 21, then 10 + 70 alone, then 20 + 30 + 1 = 51.
    assert list(_batches(readings, 60, packed=True, share=True)) == [[0, 2], [5], [1, 3]]
    # Each counts its own: 15 + 16, 80, 50, 21.
    assert list(_batches(readings, 60, packed=True, share=False)) == [[0, 2], [5], [1], [3]]
    # Lengths 15, 16, 21, 50, 80: 3 x 21 = 63 would be more than 60.
    assert list(_batches(readings, 60, packed=False, share=False)) == [[0, 2], [3], [1], [5]]
    assert list(_batches(readings[4:5], 60, packed=True, share=True)) == []
