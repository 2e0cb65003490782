"""What an evaluation measures beside its score, on the tiny policy."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rtt_lightning.callbacks.neutral import QUESTION, TEXT
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.callbacks.side_effects import SideEffects
from rtt_lightning.commands.run import main
from rtt_lightning.lm.tokenizers import render_prompt
from rtt_lightning.reports.guards import LOGGED, logged_guards
from rtt_lightning.types.errors import UserError
from tests.relevance.test_contrast import records

FULL = "--rollout.evaluation={n: 1, max_new_tokens: 8, temperature: 1.0, top_p: 1.0, top_k: 0}"


def measured(run: Any) -> dict[str, float]:
    names = ("val/neutral", "val/bare")
    return {name: float(value) for name, value in run.trainer.callback_metrics.items() if name.startswith(names)}


def test_without_bare_tasks_an_evaluation_is_as_ever(policy_args) -> None:
    assert measured(main(policy_args("validate", "--trainer.limit_val_batches=1.0"))) == {}


def test_before_training_the_policy_is_its_reference(policy_args, tiny_model: str, tmp_path: Path) -> None:
    flags = ("--trainer.limit_val_batches=1.0", "--side_effects.bare_tasks=3", FULL)
    run = main(policy_args("validate", *flags))
    found = measured(run)
    assert found["val/bare_kl_per_response"] == 0
    assert 1 <= found["val/bare_length"] <= 8
    written = json.loads((tmp_path / "completions/validate.json").read_text())
    assert logged_guards(written).keys() == {*LOGGED}
    assert found["val/neutral_text"] == found["val/neutral_text_reference"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    prompt = list(render_prompt(tokenizer, [{"role": "user", "content": QUESTION}], {}))
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)[torch.arange(len(ids)), ids].mean().item()
    assert found["val/neutral_text"] == pytest.approx(expected, abs=1e-3)


def test_a_trained_policy_is_compared_with_its_reference_on_prompts_without_criteria(policy_args) -> None:
    validates = ("--trainer.val_check_interval=4", "--trainer.limit_val_batches=1")
    run = main(policy_args("fit", *validates, "--side_effects.bare_tasks=3", FULL))
    found = measured(run)
    assert found["val/bare_kl_per_response"] > found["val/bare_kl"] > 0
    assert found["val/neutral_text"] != found["val/neutral_text_reference"]
    trainer: Any = run.trainer
    [effects] = [callback for callback in trainer.callbacks if isinstance(callback, SideEffects)]
    samples = [record.sample for record in run.datamodule.records["val"][:3]]
    assert [one.messages[-1]["content"] for one in effects._tasks(run.trainer)] == [sample.task for sample in samples]


def test_prompts_that_hold_no_task_are_told_before_anything_is_sampled(policy_args, tmp_path) -> None:
    data = records(tmp_path / "data.jsonl", "", "")
    with pytest.raises(UserError, match=r"side_effects\.bare_tasks 2 asks validation prompts without their criteria"):
        main(policy_args("validate", data, "--side_effects.bare_tasks=2"))
    with pytest.raises(UserError, match="bare_tasks must be at least 0, got -1"):
        SideEffects(RolloutCallback(), bare_tasks=-1)
