"""Relevance sources that ask the policy for the same responses after other prompts, and CoRT, which reads one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rtt_lightning.algorithms import GRPO
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import main
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.lm.sequences import ROWS, sequences
from rtt_lightning.modules import PolicyModule
from rtt_lightning.relevance import CriteriaContrast, CriterionContrast, RelevanceSource
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.types.asked import bare
from rtt_lightning.types.errors import UserError

METHOD = (
    "--model.init_args.algorithm=rtt_lightning.CoRT",
    "--model.init_args.algorithm.init_args.rise=0",
    "--rollout.relevance=rtt_lightning.CriteriaContrast",
)
STILL = (
    "--model.init_args.lora=null",
    "--model.init_args.optimizer.class_path=torch.optim.SGD",
    "--model.init_args.optimizer.init_args={lr: 0.0}",
)


def by_transformers(model: torch.nn.Module, row: Rollout, prompt: Sequence[int]) -> Tensor:
    """The same log-probs from the logits of one row."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *row.response_ids]])).logits[0, len(prompt) - 1 : -1]
    return (logits / row.temperature).log_softmax(-1)[torch.arange(len(row.response_ids)), list(row.response_ids)]


def rows(lengths: Sequence[int]) -> list[Rollout]:
    """Responses of any tokens, to two prompts in turn."""
    generator = torch.Generator().manual_seed(0)
    return [
        Rollout(
            prompt_id=f"p{number % 2}",
            group_id=number % 2,
            sample_index=number // 2,
            prompt_ids=((5, 6, 7), (8, 9))[number % 2],
            response_ids=tuple(torch.randint(300, 5000, (length,), generator=generator).tolist()),
            text="",
            offsets=((0, 0),) * length,
            answer_span=(0, 0),
            finish_reason="stop",
            policy_version=0,
            temperature=0.7 if number % 3 else 1.0,
        )
        for number, length in enumerate(lengths)
    ]


@pytest.fixture
def policy(tiny_model: str) -> LoadedModel:
    return LoadedModel(AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model))


def test_log_probs_after_another_prompt_are_those_of_its_logits(policy: LoadedModel) -> None:
    given = rows([1 + 7 * number % 11 for number in range(2 * ROWS + 3)])  # in three passes
    prompts = [(11, 12, 13, 14)[: 1 + number % 4] for number in range(len(given))]
    found = policy.logprobs_after(given, prompts)
    for row, prompt, logprobs in zip(given, prompts, found, strict=True):
        torch.testing.assert_close(logprobs, by_transformers(policy.model, row, prompt), atol=1e-5, rtol=1e-4)
    assert policy.logprobs_after([], []) == []


def test_log_probs_after_its_own_prompt_are_those_of_the_policy(tiny_model: str) -> None:
    policy = PolicyModule(tiny_model)
    policy.configure_model()
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    given = rows([3, 1, 8, 5])
    batch = sequences(given)
    expected = policy.response_logprobs(batch)[0]
    found = policy.logprobs_after(given, [row.prompt_ids for row in given])
    assert torch.equal(torch.cat(found), expected[batch["response_mask"]])
    assert not torch.cat(found).requires_grad


RUBRIC = (Criterion("Be kind.", "judge"), Criterion("Be brief.", "judge"), Criterion("Rhyme.", "judge"))
ASKED = ("Write of tea.", "Write of owls.")


def judged(lengths: Sequence[int]) -> list[JudgedRollout]:
    """Responses to two prompts in turn, of three criteria and of two, the last of which is not always decided."""
    found = []
    for row in rows(lengths):
        criteria = RUBRIC[: 3 - row.group_id]
        turn = {"role": "user", "content": " ".join((ASKED[row.group_id], *(each.text for each in criteria)))}
        sample = RubricSample(row.prompt_id, (turn,), criteria, ASKED[row.group_id])
        verdicts = [Verdict(True, "")] * len(criteria)
        if row.sample_index == 1:
            verdicts[-1] = Verdict.unscorable("asleep")
        found.append(JudgedRollout(sample, row, tuple(verdicts)))
    return found


def lacking(policy: LoadedModel, item: JudgedRollout, *texts: str) -> Tensor:
    """Log-probs of a response, by plain transformers, after a prompt that says this alone."""
    return by_transformers(policy.model, item.rollout, policy.render([{"role": "user", "content": " ".join(texts)}]))


def test_the_contrast_is_with_all_criteria_and_with_none(policy: LoadedModel) -> None:
    given = judged([3, 1, 8, 5])
    for item, found in zip(given, CriteriaContrast().weigh(given, policy), strict=True):
        delta = by_transformers(policy.model, item.rollout, item.rollout.prompt_ids)
        assert found.contrast is not None
        delta = delta - lacking(policy, item, item.sample.task or "")
        torch.testing.assert_close(found.contrast, delta, atol=1e-5, rtol=1e-4)
        assert delta.abs().max() > 1e-4
        assert torch.equal(found.p, torch.ones(len(item.verdicts), len(delta)))


def test_relevance_to_a_criterion_is_the_contrast_with_the_others_alone(policy: LoadedModel) -> None:
    given = judged([3, 1, 8, 5, 2 * ROWS, 4])
    for item, found in zip(given, CriterionContrast(tau=3.0, b=0.5).weigh(given, policy), strict=True):
        own = by_transformers(policy.model, item.rollout, item.rollout.prompt_ids)
        for place, (criterion, verdict) in enumerate(item.decisions):
            texts = [each.text for each in item.sample.criteria if each != criterion]
            delta = own - lacking(policy, item, item.sample.task or "", *texts)
            expected = (3.0 * (delta - 0.5)).sigmoid() if verdict.met else torch.zeros(len(own))
            torch.testing.assert_close(found.p[place], expected, atol=1e-5, rtol=1e-4)
        assert found.contrast is None


@pytest.mark.parametrize("source", [CriteriaContrast(), CriterionContrast()], ids=lambda source: type(source).__name__)
def test_sources_that_compare_prompts_need_a_policy_a_task_and_no_responses(
    source: RelevanceSource, policy: LoadedModel
) -> None:
    assert source.weigh([], policy) == []
    [item] = judged([3])
    assert not source.problems(item.sample)
    assert source.problems(replace(item.sample, task=None)) == source.problems(replace(item.sample, task="")) != []
    with pytest.raises(UserError, match=f"{type(source).__name__} compares prompts by log-probs of the policy"):
        source.weigh([item])


def test_a_slope_of_nothing_is_told() -> None:
    with pytest.raises(UserError, match="tau must be above 0, got 0"):
        CriterionContrast(tau=0)


def records(path: Path, *tasks: str) -> str:
    """Flags for prompts that ask for few words; empty tasks are those that cannot be told from their criteria."""
    criteria = [{"text": "At most 9 words.", "checker": "rtt:max_words", "kwargs": {"n": 9}}]
    rows = [
        {"id": f"row {n}", "prompt": f"{task} At most 9 words.", "criteria": criteria} for n, task in enumerate(tasks)
    ]
    tasked = [row | ({"task": task} if task else {}) for row, task in zip(rows, tasks, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in tasked))
    files = {"train": str(path), "val": str(path)}
    return "--data.source=" + json.dumps({"class_path": "rtt_lightning.RecordFiles", "init_args": files})


def test_a_run_credits_by_the_contrast_between_two_prompts(policy_args, tmp_path: Path) -> None:
    """The weights stay as they are, so that what was weighed can be computed again."""
    data = records(tmp_path / "data.jsonl", "Of tea.", "Of owls and the moon.")
    run = main(policy_args("fit", *METHOD, *STILL, data, "--rollout.sampling={n: 8, max_new_tokens: 12}"))
    callbacks: Any = run.trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    [rollout] = (callback for callback in callbacks if isinstance(callback, RolloutCallback))
    assert rollout.credited is not None
    assert rollout.credited.rewards is not None
    assert rollout.credited.advantages.any()
    assert run.trainer.logged_metrics["rollout/contrast_lambda"] == 1
    assert run.trainer.logged_metrics["rollout/without_contrast"] == 0
    plain = GRPO()(rollout.collector.experience(rollout.judged)).advantages[:, 0]
    for item, reward, advantages in zip(rollout.judged, plain, rollout.credited.advantages, strict=True):
        row = item.rollout
        without = by_transformers(run.model.model, row, run.model.render(bare(item.sample)))
        weights, answer = torch.ones(len(without)), torch.tensor(row.answer_tokens)
        raw = 0.5 + (by_transformers(run.model.model, row, row.prompt_ids) - without)[answer].sigmoid()
        weights[answer] = raw / raw.mean()
        expected = reward * weights
        torch.testing.assert_close(advantages[: len(expected)], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_prompts_whose_criteria_cannot_be_left_out_are_refused_before_anything_is_sampled(
    policy_args, tmp_path: Path, command: str
) -> None:
    """Those that are trained on: nothing is weighed in evaluation."""
    data = records(tmp_path / "data.jsonl", "Of tea.", "", "")
    arguments = policy_args(command, *METHOD, data, "--trainer.limit_val_batches=1.0")
    if command == "validate":
        main(arguments)
        return
    with pytest.raises(ValueError, match="the relevance source cannot weigh responses to the training data") as error:
        main(arguments)
    assert "rows need the field `task` (2 prompts, first in prompt 'row 1')" in str(error.value)
    assert not (tmp_path / "completions").exists()
