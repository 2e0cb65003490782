"""A relevance source that asks the policy for the same responses after other prompts, and an algorithm that reads it.

Both are written here as somebody else would write them, after CoRT (arXiv 2607.25659): what a token owes to the
criteria is how much likelier it is with them in the prompt than without.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rtt_lightning.algorithms import GRPO, Algorithm
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import main
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.lm.sequences import ROWS, sequences
from rtt_lightning.modules import PolicyModule
from rtt_lightning.relevance import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.types import Credited, Experience, JudgedRollout, Rollout, RubricSample

METHOD = (
    "--model.init_args.algorithm=tests.relevance.test_contrast.Contrastive",
    "--rollout.relevance=tests.relevance.test_contrast.BareTask",
)
STILL = (
    "--model.init_args.lora=null",
    "--model.init_args.optimizer.class_path=torch.optim.SGD",
    "--model.init_args.optimizer.init_args={lr: 0.0}",
)


class BareTask(RelevanceSource):
    """Log-probs of each response after its task without the criteria."""

    def problems(self, sample: RubricSample) -> list[str]:
        return [] if sample.task else ["the prompt has no task apart from its criteria"]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        assert policy is not None
        prompts = [policy.render(bare(item.sample)) for item in judged]
        found = policy.logprobs_after([item.rollout for item in judged], prompts)
        rows = zip(judged, found, strict=True)
        return [Relevance(torch.ones(len(item.verdicts), len(row)), contrast=row) for item, row in rows]


def bare(sample: RubricSample) -> list[dict[str, str]]:
    return [*sample.messages[:-1], {"role": "user", "content": sample.task or ""}]


class Contrastive(Algorithm):
    """A = w A_res with w proportional to sigmoid(delta), of mean 1 over the response."""

    def __call__(self, experience: Experience) -> Credited:
        assert experience.contrast is not None
        credited, mask = GRPO()(experience), experience.response_mask
        weights = (experience.sampler_logprobs - experience.contrast).sigmoid() * mask
        weights = weights * mask.sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return replace(credited, advantages=credited.advantages * weights)


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


def test_log_probs_after_another_prompt_are_those_of_its_logits(tiny_model: str) -> None:
    policy = LoadedModel(AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model))
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
    plain = GRPO()(rollout.collector.experience(rollout.judged)).advantages[:, 0]
    for item, reward, advantages in zip(rollout.judged, plain, rollout.credited.advantages, strict=True):
        row = item.rollout
        without = by_transformers(run.model.model, row, run.model.render(bare(item.sample)))
        weights = (by_transformers(run.model.model, row, row.prompt_ids) - without).sigmoid()
        expected = reward * weights / weights.mean()
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
    assert "the prompt has no task apart from its criteria (2 prompts, first in prompt 'row 1')" in str(error.value)
    assert not (tmp_path / "completions").exists()
