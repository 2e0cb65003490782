"""The real vLLM in this process, on the real model: one engine for all of these tests.

A short `rtt fit` makes that engine; the other tests go on with it, each from the weights that it syncs.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import RTTCommandLine
from rtt_lightning.engines import SampleRequest, Sampling, TransformersEngine
from rtt_lightning.engines.base import PolicyWeights
from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.modules import PolicyModule
from tests.engines.common import ask, logprob_gap, run_on_vllm, sample, tokens, two_steps

LIMIT = 256
GAP = 0.01
"""Mean |sampler - trainer| per token; both compute in fp32, in which CPUs are fast."""
QUESTIONS = (
    "Write one sentence about tea.",
    "Name three colours.",
    "Why is the sky blue?",
    "Describe an owl in a few words, without commas.",
)
SHORT = Sampling(max_new_tokens=8)


class Watched(VLLMEngine):
    """Notes whether starting it leaves random state and threads of the process alone."""

    start_kept_the_state = False

    def start(self, policy: PolicyWeights) -> None:
        before = process_state()
        super().start(policy)
        self.start_kept_the_state = process_state() == before


def process_state() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state(legacy=True)
    return random.getstate(), torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2:], torch.get_num_threads()


@pytest.fixture(scope="module")
def run(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RTTCommandLine]:
    """Two steps of RTT on all weights, in fp32, with vLLM."""
    engine = f"--rollout.engine={Watched.__module__}.Watched"
    arguments = f"--rollout.engine.init_args={{max_model_len: {LIMIT}, dtype: float32}}"
    with run_on_vllm(two_steps(real_model, tmp_path_factory.mktemp("fit"), engine, arguments)) as run:
        yield run


def rollout_engine(run: RTTCommandLine) -> Watched:
    (callback,) = (c for c in run.trainer.callbacks if isinstance(c, RolloutCallback))
    assert isinstance(callback.collector.engine, Watched)
    return callback.collector.engine


@pytest.fixture(scope="module")
def policy(real_model: str) -> PolicyModule:
    policy = PolicyModule(model=real_model)
    policy.configure_model()
    return policy


@pytest.fixture
def engine(run: RTTCommandLine, policy: PolicyModule) -> VLLMEngine:
    """The one engine, with the weights of the policy."""
    engine = rollout_engine(run)
    engine.sync(policy)
    return engine


@contextmanager
def trained(policy: PolicyModule) -> Iterator[None]:
    """The policy with adapters of the last layer that change what it says, and untouched again afterwards."""
    changed = [p for n, p in policy.model.named_parameters() if "layers.29." in n and "lora_B" in n]
    torch.manual_seed(0)
    for parameter in changed:
        torch.nn.init.normal_(parameter, std=0.1)
    yield
    for parameter in changed:
        torch.nn.init.zeros_(parameter)


@pytest.mark.slow
def test_a_run_on_vllm_trains_on_log_probs_near_its_own(run: RTTCommandLine) -> None:
    assert run.trainer.global_step == 2
    assert 0 < run.trainer.logged_metrics["train/logprob_gap"] <= GAP
    assert rollout_engine(run).start_kept_the_state


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_near_those_of_the_trainer(engine: VLLMEngine, policy: PolicyModule, temperature: float) -> None:
    sampling = Sampling(max_new_tokens=24, temperature=temperature)
    rows = sample(engine, ask(policy, *QUESTIONS), sampling)
    assert 0 < logprob_gap(policy, rows).mean() <= GAP


@pytest.mark.slow
def test_synced_adapters_are_sampled_from(engine: VLLMEngine, policy: PolicyModule) -> None:
    with trained(policy):
        engine.sync(policy)
        rows = sample(engine, ask(policy, *QUESTIONS), Sampling(max_new_tokens=24))
        fresh = logprob_gap(policy, rows).mean()
    stale = logprob_gap(policy, rows).mean()  # what it would be, had the sync done nothing
    assert fresh <= GAP
    assert stale > 3 * GAP


@pytest.mark.slow
def test_changed_weights_change_the_samples_and_the_old_ones_bring_them_back(
    engine: VLLMEngine, policy: PolicyModule
) -> None:
    requests = ask(policy, *QUESTIONS)
    before = sample(engine, requests, SHORT)
    with trained(policy):
        engine.sync(policy)
        assert tokens(sample(engine, requests, SHORT)) != tokens(before)
    engine.sync(policy)
    assert sample(engine, requests, SHORT) == before


@pytest.mark.slow
def test_the_same_seeds_give_the_same_responses(engine: VLLMEngine, policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    once = sample(engine, requests, SHORT)
    assert sample(engine, requests, SHORT) == once
    assert len(set(tokens(once))) > 12  # of 16: other seeds, other responses
    reseeded = [SampleRequest(r.prompt_id, r.group_id, r.prompt_ids, tuple(s + 99 for s in r.seeds)) for r in requests]
    assert tokens(sample(engine, reseeded, SHORT)) != tokens(once)


@pytest.mark.slow
def test_rows_carry_the_request_and_the_exact_tokens_to_the_end_token(engine: VLLMEngine, policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    rows = sample(engine, requests, Sampling(max_new_tokens=20, temperature=0.8), version=3)
    end = policy.tokenizer.eos_token_id
    assert [(row.group_id, row.sample_index) for row in rows] == [(g, i) for g in range(4) for i in range(4)]
    for row in rows:
        assert (row.prompt_id, row.prompt_ids) == (f"question {row.group_id}", requests[row.group_id].prompt_ids)
        assert (row.policy_version, row.temperature) == (3, 0.8)
        assert row.text == policy.tokenizer.decode(row.response_ids, skip_special_tokens=True)
        assert end not in row.response_ids[:-1]
        assert row.finish_reason == ("stop" if row.response_ids[-1] == end else "length")
        assert row.finish_reason == "stop" or len(row.response_ids) == 20
        assert row.logprobs is not None
        assert max(row.logprobs) <= 0
    assert {row.finish_reason for row in rows} == {"stop", "length"}


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [Sampling(max_new_tokens=4, top_k=5), Sampling(max_new_tokens=4, top_p=0.9)])
def test_a_part_of_the_vocabulary_gives_no_log_probs(
    engine: VLLMEngine, policy: PolicyModule, sampling: Sampling
) -> None:
    rows = sample(engine, ask(policy, "Name three colours."), sampling)
    assert [row.logprobs for row in rows] == [None] * 4


@pytest.mark.slow
def test_a_few_tokens_beside_top_p_show_whether_the_weights_are_the_policy_s(
    engine: VLLMEngine, policy: PolicyModule
) -> None:
    def gap() -> float:
        rows = list(engine.probe(ask(policy, "Name three colours.", n=1), Sampling(temperature=0.7, top_p=0.9), 0))
        assert [len(row.response_ids) <= 16 for row in rows] == [True]
        return float(logprob_gap(policy, rows).mean())

    assert gap() <= GAP
    with trained(policy):
        assert gap() > 3 * GAP  # the engine still has the old ones
        engine.sync(policy)
        assert gap() <= GAP


@pytest.mark.slow
def test_a_prompt_too_long_for_the_model_is_named(engine: VLLMEngine, policy: PolicyModule) -> None:
    (fits,) = ask(policy, "tea " * 200, n=1)
    long = SampleRequest("the long one", 1, fits.prompt_ids[:200], (1,))
    with pytest.raises(ValueError, match=f"'the long one' has 200 tokens: .* exceeds max_model_len {LIMIT}"):
        next(engine.generate([*ask(policy, "Tea?"), long], Sampling(max_new_tokens=57), 0))
    rows = sample(engine, [long], Sampling(max_new_tokens=56, top_k=1))  # 200 + 56 = 256
    assert len(rows) == 1
    assert rows[0].prompt_ids == long.prompt_ids


@pytest.mark.slow
def test_a_temperature_that_vllm_would_raise_is_refused(engine: VLLMEngine, policy: PolicyModule) -> None:
    with pytest.raises(ValueError, match=r"temperature 0.01 or above, or greedily at 0, got 0.009"):
        next(engine.generate(ask(policy, "Tea?"), Sampling(max_new_tokens=8, temperature=0.009), 0))
    (cold,) = sample(engine, ask(policy, "Name three colours.", n=1), Sampling(max_new_tokens=8, temperature=0.01))
    assert sum(cold.logprobs or [-99]) > -3  # certain of almost every token: two that tie cost log 2 = 0.7


@pytest.mark.slow
def test_greedy_responses_are_those_of_the_embedded_engine(engine: VLLMEngine, policy: PolicyModule) -> None:
    embedded, greedy = TransformersEngine(), Sampling(n=1, max_new_tokens=8, temperature=0)
    engine.sync(policy)
    embedded.start(policy)
    requests = ask(policy, *QUESTIONS, n=1)
    rows = sample(engine, requests, greedy)
    assert tokens(rows) == tokens(sample(embedded, requests, greedy))
    assert {(row.temperature, row.logprobs) for row in rows} == {(1.0, None)}


@pytest.mark.slow
def test_sampling_and_syncing_leave_the_process_as_it_was(engine: VLLMEngine, policy: PolicyModule) -> None:
    before = process_state()
    engine.sync(policy)
    rows = engine.generate(ask(policy, "Tea?"), SHORT, 0)
    next(rows)
    between = process_state()
    rows.close()
    assert between == before
    assert process_state() == before


@pytest.mark.slow
def test_a_generator_closed_early_leaves_the_engine_as_it_was(engine: VLLMEngine, policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    before = sample(engine, requests, SHORT)
    rows = engine.generate(requests, Sampling(max_new_tokens=24), 0)
    next(rows)
    rows.close()
    assert not engine._engine.has_unfinished_requests()
    engine.sync(policy)  # refused while responses are being sampled
    assert sample(engine, requests, SHORT) == before
