"""From a plain model to credited responses, without a trainer: as in a notebook."""

import asyncio
import copy
from collections.abc import Iterator, Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from rtt_lightning.algorithms import RTT
from rtt_lightning.engines import ReplayEngine, Sampling, TransformersEngine
from rtt_lightning.engines.base import PolicyWeights, SampleRequest
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.lm.tokenizers import TokenBytes
from rtt_lightning.relevance import RuleSpans
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample
from rtt_lightning.verifiers.decisive import DecisiveSpans
from rtt_lightning.verifiers.rules import RuleVerifier

COMMAS, WORDS = Criterion("Use no commas.", "rtt:no_commas"), Criterion("At most 8 words.", "rtt:max_words", {"n": 8})
SAMPLES = [
    RubricSample("tea", ({"role": "user", "content": "Of tea."},), (COMMAS, WORDS)),
    RubricSample("owls", ({"role": "user", "content": "Of owls, in a few words."},), (COMMAS,)),
]
FEW = Sampling(n=3, max_new_tokens=12)


@pytest.fixture
def policy(tiny_model: str) -> LoadedModel:
    return LoadedModel(AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model))


def collector(policy: LoadedModel, seed: int = 0) -> Collector:
    made = Collector(verifier=RuleVerifier(workers=0), relevance=RuleSpans(), seed=seed)
    made.sync(policy)
    return made


def responses(judged: list[JudgedRollout]) -> list[tuple[int, ...]]:
    return [item.rollout.response_ids for item in judged]


class Copying(TransformersEngine):
    """Samples from a copy of the weights, as an engine in other memory does."""

    def start(self, policy: PolicyWeights) -> None:
        super().start(policy)
        self._model = copy.deepcopy(policy.model)

    def sync(self, policy: PolicyWeights) -> None:
        self._model.load_state_dict(dict(policy.full_weights()), strict=False)


def test_a_model_and_a_tokenizer_give_credited_responses_within_an_event_loop(policy: LoadedModel) -> None:
    async def cell() -> None:  # of a notebook, which runs in a loop
        collector = Collector(relevance=RuleSpans())
        collector.sync(policy)
        judged = collector.collect(SAMPLES, FEW)
        assert [(item.sample.id, item.rollout.group_id, item.rollout.sample_index) for item in judged] == [
            (sample.id, group, index) for group, sample in enumerate(SAMPLES) for index in range(3)
        ]
        for item in judged:
            assert item.verdicts[0].met == ("," not in item.rollout.answer)
        experience = collector.experience(judged)
        own = policy.logprobs_after([item.rollout for item in judged], [item.rollout.prompt_ids for item in judged])
        torch.testing.assert_close(experience.sampler_logprobs[experience.response_mask], torch.cat(own))
        credited = RTT()(experience)
        assert credited.advantages.shape == experience.response_mask.shape
        assert credited.advantages.any()
        for shown in (repr(experience), repr(credited)):
            assert "batch 6" in shown
            assert len(shown) < 300

    asyncio.run(cell())


def test_what_is_printed_counts(policy: LoadedModel) -> None:
    collector = Collector(verifier=RuleVerifier(workers=0, undecidable="unscorable"))
    collector.sync(policy)
    unknown = RubricSample("x", SAMPLES[0].messages, (COMMAS, Criterion("Be kind.", "judge")))
    experience = collector.experience(collector.collect([unknown], Sampling(n=2, max_new_tokens=4)))
    desired = int(experience.as_desired.sum())
    assert f"criteria 4: {25 * desired}% as desired, 50% undecided" in repr(experience)
    assert "batch 2 (groups 1), rubric 2, token 4" in repr(experience)
    assert "mean relevance 1.000" in repr(experience)
    assert "batch 0 (groups 0)" in repr(collector.experience([]))


def test_responses_depend_on_the_seed_and_the_window_alone(policy: LoadedModel) -> None:
    first = responses(collector(policy).collect(SAMPLES, FEW))
    assert responses(collector(policy).collect(SAMPLES, FEW)) == first
    assert responses(collector(policy).collect(SAMPLES[::-1], FEW)) == first[3:] + first[:3]
    assert responses(collector(policy).collect(SAMPLES, FEW, window=1)) != first
    assert responses(collector(policy, seed=1).collect(SAMPLES, FEW)) != first


def test_weights_are_sampled_from_once_they_are_handed_over(policy: LoadedModel) -> None:
    collector = Collector(Copying(), RuleVerifier(workers=0))
    collector.sync(policy)
    before = collector.collect(SAMPLES, FEW)
    torch.nn.init.normal_(next(policy.model.parameters()), std=0.2)
    assert responses(collector.collect(SAMPLES, FEW)) == responses(before)
    collector.sync(policy, version=0)  # by its number they are the same weights
    assert responses(collector.collect(SAMPLES, FEW)) == responses(before)
    collector.sync(policy)
    after = collector.collect(SAMPLES, FEW)
    assert responses(after) != responses(before)
    assert {item.rollout.policy_version for item in before + after} == {0, 1}


def test_another_model_is_begun_with_anew(policy: LoadedModel) -> None:
    other = LoadedModel(copy.deepcopy(policy.model), policy.tokenizer)
    torch.nn.init.normal_(next(other.model.parameters()), std=0.2)
    switched = collector(policy)
    switched.sync(other)
    assert responses(switched.collect(SAMPLES, FEW)) == responses(collector(other).collect(SAMPLES, FEW))


def test_a_forgotten_sync_is_told(policy: LoadedModel) -> None:
    with pytest.raises(ValueError, match=r"no weights yet: call sync\(policy\) before collect"):
        Collector().collect(SAMPLES, FEW)


def test_a_model_without_its_tokenizer_is_told_what_to_hand_over(policy: LoadedModel) -> None:
    with pytest.raises(ValueError, match=r"got LlamaForCausalLM: hand over LoadedModel\(model, tokenizer\)"):
        Collector().sync(policy.model)  # pyright: ignore[reportArgumentType]


def test_prompts_are_refused_as_by_a_run_before_anything_is_sampled(policy: LoadedModel) -> None:
    wrong = (Criterion("Be brief.", "rtt:max_word"), Criterion("Be brief.", "rtt:max_words", {"count": 8}))
    asks = r"the data asks for checks .*\n.*unknown checker 'rtt:max_word'; .*\n.*wrong arguments: rtt:max_words"
    with pytest.raises(ValueError, match=asks):
        collector(policy).collect([RubricSample("tea", SAMPLES[0].messages, wrong)], FEW)
    with pytest.raises(ValueError, match="field `id` is 'tea' in 2 prompts; each prompt needs its own"):
        collector(policy).collect([*SAMPLES, SAMPLES[0]], FEW)


def test_recorded_responses_need_no_sampling(policy: LoadedModel) -> None:
    recorded = collector(policy).collect(SAMPLES, FEW)
    replayed = Collector(ReplayEngine(item.rollout for item in recorded), RuleVerifier(workers=0), RuleSpans())
    replayed.sync(policy)
    again = replayed.collect(SAMPLES, FEW)
    assert again == recorded
    assert torch.equal(replayed.experience(again).relevance, collector(policy).experience(recorded).relevance)


def test_decisive_spans_are_relevant_in_a_window(policy: LoadedModel) -> None:
    """And none of a word that is used twice, which would be met without either use."""
    criteria = (Criterion("Use 'tea'.", "rtt:include_word", {"word": "tea"}), COMMAS, WORDS)
    sample, made = RubricSample("tea", SAMPLES[0].messages, criteria), TokenBytes(policy.tokenizer)
    rollouts = []
    for text in ("I like tea, milk, all", "tea and tea"):
        ids = tuple(policy.tokenizer(text)["input_ids"])
        text, offsets = made.decode(ids)
        rollouts.append(Rollout("tea", 0, 0, (1,), ids, text, offsets, (0, len(text)), "stop", 0, 1.0))
    window = Collector(ReplayEngine(rollouts), DecisiveSpans(RuleVerifier()), RuleSpans())
    window.sync(policy)
    judged = window.collect([sample], Sampling(n=2))
    assert [[verdict.met for verdict in item.verdicts] for item in judged] == [[True, False, True], [True, True, True]]
    relevance = window.experience(judged).relevance
    tokens = [policy.tokenizer.convert_ids_to_tokens(list(row.response_ids)) for row in rollouts]
    found = [
        [{token for token, p in zip(names, row.tolist(), strict=False) if p} for row in rows]
        for names, rows in zip(tokens, relevance, strict=True)
    ]
    assert found == [[{"Ġtea"}, {","}, {*tokens[0]}], [set(), set(), {*tokens[1]}]]
    assert window.verifier.metrics() == {"counterfactuals": 5, "spans_undecided": 0}


def test_a_model_in_bf16_and_in_training_mode_stays_as_it_is(tiny_model: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16, attention_dropout=0.5).train()
    policy = LoadedModel(model, AutoTokenizer.from_pretrained(tiny_model))
    [judged] = collector(policy).collect(SAMPLES[:1], Sampling(n=1, max_new_tokens=12))
    [logprobs] = policy.logprobs_after([judged.rollout], [judged.rollout.prompt_ids])
    gap = (logprobs - torch.tensor(judged.rollout.logprobs)).abs().mean()
    assert gap < 0.1  # with half of its attention dropped it is more
    assert model.training
    assert next(model.parameters()).dtype == torch.bfloat16


def test_folders_that_cannot_be_read_and_models_without_one_are_told(policy: LoadedModel) -> None:
    with pytest.raises(ValueError, match="cannot read a tokenizer from '/nowhere/model'"):
        LoadedModel.from_folder("/nowhere/model")
    small = LlamaConfig(vocab_size=10, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    made = LoadedModel(LlamaForCausalLM(small), policy.tokenizer)
    with pytest.raises(ValueError, match=r"LlamaForCausalLM was made in memory.* save_pretrained"):
        _ = made.base_model


class Noting(RuleSpans):
    """Notes the groups that it is told to begin with, and how many responses had ended."""

    def __init__(self, ended: list[int]) -> None:
        self.ended = ended
        self.begun: list[tuple[str, list[int], int]] = []

    def begin(self, sample: RubricSample, rollouts: Sequence[Rollout]) -> None:
        self.begun.append((sample.id, sorted(row.sample_index for row in rollouts), len(self.ended)))


class InOrder(TransformersEngine):
    """Gives the responses of one prompt after those of another, and notes each."""

    def __init__(self, ended: list[int], samples_elsewhere: bool) -> None:
        super().__init__()
        self.ended, self.samples_elsewhere = ended, samples_elsewhere

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        for row in sorted(super().generate(requests, sampling, policy_version), key=lambda row: row.group_id):
            self.ended.append(row.group_id)
            yield row


@pytest.mark.parametrize(("samples_elsewhere", "ended"), [(True, [3, 6]), (False, [6, 6])])
def test_weighing_begins_when_it_delays_nothing(policy: LoadedModel, samples_elsewhere: bool, ended: list[int]) -> None:
    responses: list[int] = []
    made = Collector(InOrder(responses, samples_elsewhere), RuleVerifier(workers=0), relevance := Noting(responses))
    made.sync(policy)
    made.collect(SAMPLES, FEW)
    assert not relevance.begun
    responses.clear()
    assert len(made.collect(SAMPLES, FEW, weigh=True)) == 6
    assert relevance.begun == [("tea", [0, 1, 2], ended[0]), ("owls", [0, 1, 2], ended[1])]
