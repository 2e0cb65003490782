"""The embedded engine samples exact tokens with the trainer's own log-probs, and leaves the policy as it was."""

from collections.abc import Iterator

import pytest
import torch

from rtt_lightning.engines import TransformersEngine
from rtt_lightning.engines.base import Sampling
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule
from tests.engines.common import ask, logprob_gap, sample, tokens

QUESTIONS = ("Tea?", "Write one long sentence about the sea and the owls that live beside it.", "Name a colour.")
MOST = 12
SAMPLING = Sampling(max_new_tokens=MOST, temperature=0.8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from a second thread, and wait for it when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def policy(tiny_model: str) -> PolicyModule:
    """Full fp32 weights. Every eighth token ends a response, so that lengths are ragged."""
    return made(tiny_model, None)


@pytest.fixture
def adapted(tiny_model: str) -> PolicyModule:
    """fp32 base under adapters that are far from 0."""
    policy = made(tiny_model, Lora(rank=4, alpha=8.0))
    policy.model.float()
    torch.manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return policy


def made(model: str, lora: Lora | None) -> PolicyModule:
    policy = PolicyModule(model=model, lora=lora)
    policy.configure_model()
    policy.model.generation_config.eos_token_id = list(range(0, 49152, 8))  # 2 is the tokenizer's
    return policy


def started(policy: PolicyModule, batch_size: int = 64, merge_adapters: bool | None = None) -> TransformersEngine:
    engine = TransformersEngine(batch_size, merge_adapters)
    engine.start(policy)
    engine.sync(policy)
    return engine


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probs_are_those_of_the_trainer(policy: PolicyModule, temperature: float) -> None:
    sampling = Sampling(max_new_tokens=MOST, temperature=temperature)
    rows = sample(started(policy), ask(policy, *QUESTIONS), sampling)
    assert len({len(row.response_ids) for row in rows}) > 2
    assert logprob_gap(policy, rows).max() < 1e-4


def test_a_row_carries_the_request_and_the_exact_tokens(policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    rows = sample(started(policy, batch_size=5), requests, SAMPLING, version=3)
    assert [(row.group_id, row.sample_index) for row in rows] == [(g, i) for g in range(3) for i in range(4)]
    for row in rows:
        assert row.prompt_ids == requests[row.group_id].prompt_ids
        assert row.prompt_id == requests[row.group_id].prompt_id
        said = row.response_ids[:-1] if row.finish_reason == "stop" else row.response_ids  # an end token has no text
        assert row.text == policy.tokenizer.decode(said, skip_special_tokens=True)
        assert (row.policy_version, row.temperature) == (3, 0.8)


def test_a_response_ends_with_its_first_end_token_or_at_the_limit(policy: PolicyModule) -> None:
    rows = sample(started(policy), ask(policy, *QUESTIONS), SAMPLING)
    ends = {2, *range(0, 49152, 8)}
    for row in rows:
        assert not ends & set(row.response_ids[:-1])
        assert row.finish_reason == ("stop" if row.response_ids[-1] in ends else "length")
        assert len(row.response_ids) == MOST or row.finish_reason == "stop"
    assert {row.finish_reason for row in rows} == {"stop", "length"}


def test_the_same_seeds_give_the_same_responses_in_any_batch(policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    once = sample(started(policy), requests, SAMPLING)
    assert len(set(tokens(once))) == 12  # other seeds, other responses
    for batch_size in (64, 1, 5):
        again = sample(started(policy, batch_size), requests, SAMPLING)
        assert tokens(again) == tokens(once)
        for one, other in zip(once, again, strict=True):
            assert other.logprobs == pytest.approx(one.logprobs, abs=1e-5)


def test_left_padding_changes_nothing(policy: PolicyModule) -> None:
    """Prompts of 8 to 25 tokens side by side are answered as each is alone."""
    requests = ask(policy, *QUESTIONS)
    assert len({len(request.prompt_ids) for request in requests}) == 3
    together = sample(started(policy), requests, SAMPLING)
    alone = [row for request in requests for row in sample(started(policy), [request], SAMPLING)]
    assert tokens(together) == tokens(alone)
    for one, other in zip(together, alone, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-5)


def test_a_request_may_ask_for_the_same_prompt_as_another(policy: PolicyModule) -> None:
    first, second = ask(policy, "Tea?", "Tea?")
    rows = sample(started(policy), [first, second], SAMPLING)
    assert tokens(rows) == tokens(sample(started(policy, 1), [first, second], SAMPLING))
    assert tokens(rows[:4]) != tokens(rows[4:])


def test_changed_weights_give_changed_samples_and_the_old_ones_the_old_samples(policy: PolicyModule) -> None:
    engine, requests = started(policy), ask(policy, *QUESTIONS)
    before = sample(engine, requests, SAMPLING)
    weight = policy.model.model.layers[0].mlp.down_proj.weight
    original = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.3)
    engine.sync(policy)
    changed = sample(engine, requests, SAMPLING)
    assert tokens(changed) != tokens(before)
    assert logprob_gap(policy, changed).max() < 1e-4
    with torch.no_grad():
        weight.copy_(original)
    assert tokens(sample(engine, requests, SAMPLING)) == tokens(before)


@pytest.mark.parametrize("sampling", [Sampling(max_new_tokens=MOST, top_p=0.9), Sampling(max_new_tokens=MOST, top_k=9)])
def test_a_part_of_the_vocabulary_gives_no_log_probs(policy: PolicyModule, sampling: Sampling) -> None:
    rows = sample(started(policy), ask(policy, "Tea?"), sampling)
    assert all(row.logprobs is None and row.response_ids for row in rows)


def test_the_most_likely_token_alone_makes_seeds_irrelevant(policy: PolicyModule) -> None:
    greedy = sample(started(policy), ask(policy, "Tea?"), Sampling(max_new_tokens=MOST, top_k=1))
    assert len(set(tokens(greedy))) == 1
    policy.model.eval()
    (prompt,) = ask(policy, "Tea?")
    first = policy.model(torch.tensor([prompt.prompt_ids])).logits[0, -1].argmax()
    assert greedy[0].response_ids[0] == first


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_every_modules_mode_is_restored(policy: PolicyModule, training: bool, early: bool) -> None:
    policy.model.train(training)
    rows = started(policy).generate(ask(policy, "Tea?"), SAMPLING, 0)
    next(rows)
    assert not policy.model.training
    if early:
        rows.close()
    else:
        assert len(list(rows)) == 3
    assert all(module.training == training for module in policy.model.modules())


@pytest.mark.parametrize("merge", [True, False])
def test_log_probs_under_adapters_are_those_of_the_trainer(adapted: PolicyModule, merge: bool) -> None:
    rows = sample(started(adapted, merge_adapters=merge), ask(adapted, *QUESTIONS), SAMPLING)
    assert logprob_gap(adapted, rows).max() < 1e-4
    with adapted.model.disable_adapter():
        assert logprob_gap(adapted, rows).mean() > 0.05  # the adapters matter


@pytest.mark.parametrize("early", [False, True])
def test_sampling_leaves_weights_and_adapters_bit_identical(tiny_model: str, early: bool) -> None:
    policy = made(tiny_model, Lora(rank=4, alpha=8.0))  # bf16 base: adding and taking away again would not
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    rows = started(policy, batch_size=2, merge_adapters=True).generate(ask(policy, "Tea?"), SAMPLING, 0)
    next(rows)
    changed = [n for n, p in policy.model.named_parameters() if not torch.equal(p, before[n])]
    assert len(changed) == 14  # merged while sampling: 2 layers with q, k, v, o, gate, up, down
    if early:
        rows.close()
    else:
        assert len(list(rows)) == 3
    assert all(torch.equal(p, before[name]) for name, p in policy.model.named_parameters())
    assert policy.model.active_adapters == ["default"]
    assert logprob_gap(policy, sample(started(policy), ask(policy, "Tea?"), SAMPLING)).mean() < 0.05


def test_adapters_are_merged_where_that_rounds_nothing_away(tiny_model: str, adapted: PolicyModule) -> None:
    assert TransformersEngine().merges(adapted.model)  # in fp32
    low = made(tiny_model, Lora(rank=4, alpha=8.0))
    for parameter in low.model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    assert not TransformersEngine().merges(low.model)
    assert TransformersEngine(merge_adapters=True).merges(low.model)


def test_responses_draw_from_their_own_seeds(policy: PolicyModule) -> None:
    """The first tokens of 400 responses: 1/8 of a nearly flat distribution are end tokens, 50 give or take 4 sigma."""
    (request,) = ask(policy, "Tea?", n=400)
    rows = sample(started(policy), [request], Sampling(max_new_tokens=1))
    stopped = sum(row.finish_reason == "stop" for row in rows)
    # sigma = sqrt(400 * 1/8 * 7/8) = 6.6
    assert 50 - 27 < stopped < 50 + 27
    assert len(set(tokens(rows))) > 300


def test_an_impossible_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        TransformersEngine(batch_size=0)
