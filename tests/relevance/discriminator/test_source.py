"""Relevance of a discriminator whose tokenizer is not the policy's.

The discriminator here rates a token by its id alone, by construction: its layers add nothing, and the embedding of a
token is +1 or -1 in its first dimension. So what it says of every character is known.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from rtt_lightning.engines import SampleRequest, Sampling
from rtt_lightning.engines.base import RolloutBuilder
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.checkpoint import load
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.source import relevance_of
from rtt_lightning.types import Criterion, JudgedRollout, RubricSample, Verdict

END = "<end>"
OWL = 23142  # " owl" for the discriminator
DUCK = 10813  # the first two bytes of 🦆 for the discriminator, which takes two more tokens for the others


@pytest.fixture(scope="module")
def policy_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and three merges that cross the borders of the discriminator's tokens: "n ", "wl" and "ow"."""
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("n", "Ġ"), ("w", "l"), ("o", "w")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END)


def judged(tokenizer: PreTrainedTokenizerFast, response: str, *criteria: str) -> JudgedRollout:
    """A response as an engine would hand it over, and any verdicts."""
    ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    builder = RolloutBuilder(tokenizer, frozenset({tokenizer.get_vocab()[str(tokenizer.eos_token)]}))
    rollout = builder(SampleRequest("p", 0, (1,), (1,)), 0, ids, None, Sampling(), 0)
    rubric = tuple(Criterion(text, "rtt:include_word") for text in criteria or ("Use owl.",))
    sample = RubricSample("p", ({"role": "user", "content": "?"},), rubric)
    return JudgedRollout(sample, rollout, tuple(Verdict(True, "") for _ in rubric))


def checkpoint(module: DiscriminatorModule, path: Path) -> str:
    saved = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(saved)
    torch.save(saved, path)
    return str(path)


def by_token(model: str, path: Path, *relevant: int, max_length: int = 4096) -> DiscriminatorRelevance:
    """A discriminator that says ~1 of these tokens and ~0 of all others, whatever the criterion."""
    module = DiscriminatorModule(model, max_length=max_length)
    module.configure_model()
    network = module.relevance.network
    with torch.no_grad():
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding = network.model.embed_tokens.weight
        embedding.zero_()
        embedding[:, 0] = -1
        embedding[list(relevant), 0] = 1
        # The norm scales (±1, 0, ...) of 32 dimensions to ±sqrt(32) = ±5.66: a logit of ±17, p = 1 or 0 within 5e-8.
        network.score.weight.zero_()[0, 0] = 3
        network.score.bias.zero_()
    return DiscriminatorRelevance(checkpoint(module, path))


@pytest.fixture
def owls(tiny_model: str, tmp_path: Path) -> DiscriminatorRelevance:
    return by_token(tiny_model, tmp_path / "owl.ckpt", OWL)


@pytest.fixture(scope="module")
def untrained(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights throughout: relevance that depends on criterion, place and token."""
    torch.manual_seed(0)
    module = DiscriminatorModule(tiny_model)
    module.configure_model()
    torch.nn.init.normal_(module.relevance.network.score.weight, std=0.3)
    return checkpoint(module, tmp_path_factory.mktemp("untrained") / "d.ckpt")


def close(actual: torch.Tensor, *rows: list[float]) -> None:
    torch.testing.assert_close(actual, torch.tensor(rows), atol=1e-6, rtol=0)


def test_relevance_lands_on_the_characters_that_it_was_given_for(owls, policy_tokenizer) -> None:
    item = judged(policy_tokenizer, f"an owl!{END}")
    assert policy_tokenizer.convert_ids_to_tokens(item.rollout.response_ids) == ["a", "nĠ", "o", "wl", "!", END]
    # The discriminator reads "an", " owl", "!" and says 0, 1, 0: characters 2 to 6 are relevant.
    # "n " holds characters 1 and 2: (0 + 1) / 2. The end token holds none.
    close(owls.weigh([item])[0].p, [0, 0.5, 1, 1, 0, 0])


def test_a_character_split_over_tokens_is_relevant_in_each_of_them(tiny_model: str, tmp_path, policy_tokenizer) -> None:
    # The discriminator rates one of the three tokens of 🦆 1: the character has their mean, 1/3.
    source = by_token(tiny_model, tmp_path / "d.ckpt", DUCK)
    # The policy reads it as four bytes, each of which carries the whole character.
    close(source.weigh([judged(policy_tokenizer, f"a🦆b{END}")])[0].p, [0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_only_the_answer_is_read(owls, policy_tokenizer) -> None:
    item = judged(policy_tokenizer, f"<think>an owl</think>an owl{END}")
    relevance = owls.weigh([item])[0].p
    assert item.rollout.answer_span == (21, 27)
    # 19 tokens of reasoning ("n " and "wl" are one each) without relevance, though " owl" is among them
    assert item.rollout.answer_tokens == [False] * 19 + [True] * 4 + [False]
    close(relevance, [0] * 19 + [0, 0.5, 1, 1] + [0])


def test_each_criterion_has_a_row_and_padding_leaves_no_trace(owls, policy_tokenizer) -> None:
    items = [
        judged(policy_tokenizer, f"an owl!{END}", "Use owl.", "A much longer criterion about birds of the night."),
        judged(policy_tokenizer, f"a{END}"),
        judged(policy_tokenizer, END, "One.", "Two.", "Three."),
        judged(policy_tokenizer, ""),
        judged(policy_tokenizer, "so an owl and an owl"),
    ]
    relevance = [found.p for found in owls.weigh(items)]
    assert [tuple(row.shape) for row in relevance] == [(2, 6), (1, 2), (3, 1), (1, 0), (1, 16)]
    close(relevance[0], *[[0, 0.5, 1, 1, 0, 0]] * 2)
    assert torch.cat([row.flatten() for row in relevance[1:4]]).max() < 1e-6
    # s o _ a "n " o wl _ a "n " ... : both owls, each with half of the "n " before it
    assert relevance[4].sum() == pytest.approx(5, abs=1e-5)


@pytest.mark.parametrize("response", ["", END])
def test_an_empty_response_alone(owls, policy_tokenizer, response: str) -> None:
    relevance = owls.weigh([judged(policy_tokenizer, response, "One.", "Two.")])[0].p
    assert relevance.shape == (2, len(response) > 0)
    assert not relevance.any()


def test_nothing_to_weigh_gives_nothing(owls) -> None:
    assert owls.weigh([]) == []


def test_a_response_beyond_the_length_limit_is_read_in_windows(
    tiny_model: str, tmp_path: Path, policy_tokenizer
) -> None:
    item = judged(policy_tokenizer, f"an owl{' and so on' * 30} an owl{END}")
    source = by_token(tiny_model, tmp_path / "d.ckpt", OWL, max_length=40)
    [found] = source.weigh([item])
    assert found.read is not None
    assert found.read.all()
    at = (found.p[0] > 0.1).nonzero()[:, 0].tolist()
    last = len(item.rollout.response_ids) - 1
    assert at == [1, 2, 3, last - 3, last - 2, last - 1]  # both owls, each with half of the "n " before it


def test_a_criterion_that_leaves_no_room_earns_nothing_and_is_named(
    tiny_model: str, tmp_path: Path, policy_tokenizer
) -> None:
    short, long = "Use owl.", "Use owl, and speak of the birds of the night. " * 5
    source = by_token(tiny_model, tmp_path / "d.ckpt", OWL, max_length=40)
    with pytest.warns(UserWarning, match="the criterion 'Use owl, and .*' leaves the discriminator no room"):
        [found, alone] = source.weigh(
            [judged(policy_tokenizer, f"an owl{END}", short, long), judged(policy_tokenizer, f"an owl{END}", long)]
        )
    assert found.read is not None
    assert found.read.all()
    assert found.p[0].any()
    assert not found.p[1].any()
    assert alone.read is not None
    assert not alone.read.any()


def test_a_token_beyond_the_embedding_is_named(tiny_model: str, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.save_pretrained(tmp_path)
    model = build(RelevanceConfig(str(tmp_path), layers=1))
    model.encode([(("Use owl.",), "an owl")])
    with pytest.raises(ValueError, match=r"the discriminator cannot read a token: '<\|turn\|>' has id 49152"):
        model.encode([(("Use owl.",), "an <|turn|> owl")])


def test_relevance_is_soft_and_stays_a_float(untrained: str, policy_tokenizer) -> None:
    """The authors' code writes it into an integer tensor, where all of it becomes 0 or 1."""
    relevance = (
        DiscriminatorRelevance(untrained)
        .weigh([judged(policy_tokenizer, f"we saw an owl by the sea{END}", "Use owl.", "Use sea.")])[0]
        .p
    )
    assert relevance.dtype == torch.float32
    answer = relevance[:, :-1]
    assert ((answer > 0) & (answer < 1)).all()
    assert answer.std() > 0.05
    assert not relevance[:, -1].any()
    assert not torch.equal(relevance[0], relevance[1])  # the criterion is read


def test_the_tokens_of_a_batch_do_not_change_relevance(untrained: str, policy_tokenizer) -> None:
    texts = ("we saw an owl by the sea", "an owl", "", "no", "a red map of the sky and the sea with an owl on it")
    items = [judged(policy_tokenizer, text + END, "Use owl.", "Write about the sea, please.") for text in texts]
    expected = DiscriminatorRelevance(untrained).weigh(items)
    for tokens in (1, 100):
        for one, other in zip(DiscriminatorRelevance(untrained, tokens).weigh(items), expected, strict=True):
            torch.testing.assert_close(one.p, other.p)


def test_an_undecided_criterion_is_not_read(untrained: str, policy_tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    item = judged(policy_tokenizer, f"an owl{END}", "Use owl.", "Write at length about the sea.")
    one = replace(item, verdicts=(Verdict(None, "the judge is down"), item.verdicts[1]))
    none = replace(item, verdicts=(Verdict(None, "the judge is down"),) * 2)
    source = DiscriminatorRelevance(untrained)
    [whole] = source.weigh([item])
    read: list[int] = []
    forward = RelevanceModel.forward
    monkeypatch.setattr(RelevanceModel, "forward", lambda self, pairs: read.append(len(pairs)) or forward(self, pairs))
    [found] = source.weigh([one])
    assert not found.p[0].any()
    torch.testing.assert_close(found.p[1], whole.p[1])
    torch.testing.assert_close(found.read, whole.read)
    assert not source.weigh([none])[0].p.any()
    assert read == [1]


def test_what_was_begun_is_not_read_again(untrained: str, policy_tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [judged(policy_tokenizer, text + END, "Use owl.", "Write of the sea.") for text in ("an owl", "no", "no")]
    undecided = replace(items[1], verdicts=(Verdict(None, "the judge is down"), items[1].verdicts[1]))
    items[1] = undecided  # known too late: its relevance is there, and counts for the other answer only
    expected = DiscriminatorRelevance(untrained).weigh(items)
    source = DiscriminatorRelevance(untrained)
    for item in items[:2]:
        source.begin(item.sample, [item.rollout])
    monkeypatch.setattr(RelevanceModel, "forward", None)
    found = source.weigh(items)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.p, other.p)
        torch.testing.assert_close(one.read, other.read)
    assert not found[1].p[0].any()
    assert found[2].p[0].any()
    with pytest.raises(TypeError):
        source.weigh(items)  # nothing is kept for another window


def test_relevance_is_computed_in_the_precision_around_it(untrained: str, policy_tokenizer) -> None:
    item = judged(policy_tokenizer, f"we saw an owl by the sea{END}", "Use owl.")
    [exact] = DiscriminatorRelevance(untrained).weigh([item])
    with torch.autocast("cpu", torch.bfloat16):
        [rounded] = DiscriminatorRelevance(untrained).weigh([item])
    assert not torch.equal(exact.p, rounded.p)
    assert rounded.p.dtype == torch.float32
    torch.testing.assert_close(exact.p, rounded.p, atol=0.02, rtol=0)


def test_no_tokens_at_a_time_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_tokens must be at least 1, got 0; null suits the device"):
        DiscriminatorRelevance("d.ckpt", batch_tokens=0)


def test_relevance_is_what_the_network_says_of_the_pair(untrained: str, tiny_model: str) -> None:
    """With the discriminator's own tokenizer as the policy's, nothing is carried over: token by token the same."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    item = judged(tokenizer, "we saw an owl by the sea", "Use owl.")
    model = load(untrained)
    [reading] = model.encode([(("Use owl.",), item.rollout.text)])
    assert tuple(reading.offsets) == item.rollout.offsets
    [expected] = relevance_of(model, [reading], 1)
    torch.testing.assert_close(DiscriminatorRelevance(untrained).weigh([item])[0].p, expected)
