"""Windows with numbers that are not finite, in real runs of the tiny policy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from rtt_lightning.algorithms import RTT
from rtt_lightning.commands.run import main
from rtt_lightning.modules import PolicyModule
from rtt_lightning.relevance import Relevance, ScoresResponses, UniformRelevance
from rtt_lightning.runtime.checkpoints import checkpoints
from rtt_lightning.runtime.finite import nonfinite_names, tensors_in
from rtt_lightning.types import Credited, Experience, JudgedRollout
from tests.callbacks.ragged import RAGGED, brief
from tests.runtime.test_resume import saving

HERE = "tests.callbacks.test_finite"


class Holes(UniformRelevance):
    """Has no number for one token of prompt 2."""

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        found = super().weigh(judged, policy)
        for item, relevance in zip(judged, found, strict=True):
            if item.sample.id == "2":
                relevance.p[0, 0] = torch.nan
        return found


class Divides(RTT):
    """An algorithm of one's own that divides by a spread of 0."""

    def __call__(self, experience: Experience) -> Credited:
        credited = super().__call__(experience)
        return replace(credited, advantages=credited.advantages / torch.zeros(()))


class Breaks(Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: object) -> None:
        next(p for p in pl_module.parameters() if p.requires_grad).data.view(-1)[0] = torch.nan


RELEVANCE = (f"--rollout.relevance={HERE}.Holes", "--data.view.init_args.prompts=4")


def test_relevance_that_is_not_finite_ends_the_run_before_it_is_used(policy_args, tmp_path: Path) -> None:
    """Under plain GRPO, which makes nothing of relevance, and named by its prompts: two of them share a micro-batch."""
    grpo = "--model.init_args.algorithm=rtt_lightning.GRPO"
    with pytest.raises(FloatingPointError, match=r"window 0 is not finite: relevance, of prompts (2, \d|\d, 2)\. "):
        main(policy_args("fit", *RELEVANCE, brief(tmp_path), grpo))


def test_updates_with_it_are_skipped_and_checkpoints_hold_none_of_it(policy_args, tmp_path: Path) -> None:
    flags = ("--data.view.init_args.updates=2", "--model.init_args.skip_nonfinite=1", *saving(tmp_path, updates=2))
    with pytest.warns(UserWarning, match=r"window 0 is not finite: relevance.*; skipped"):
        run = main(policy_args("fit", *RELEVANCE, brief(tmp_path), RAGGED, *flags, "--rollout.sampling.top_k=0"))
    assert run.trainer.callback_metrics["train/skipped_updates"] == 1
    within, _ = checkpoints(tmp_path / "ckpt")
    window = torch.load(within, weights_only=True)["callbacks"]["RolloutCallback"]["windows"][0]
    assert sum(bool(part["nonfinite"]) for part in window["micro_batches"]) == 1
    assert not nonfinite_names(tensors_in(window))


def test_advantages_that_are_not_finite_end_the_run(policy_args) -> None:
    with pytest.raises(FloatingPointError, match="window 0 is not finite: advantages of Divides, of prompts"):
        main(policy_args("fit", f"--model.init_args.algorithm={HERE}.Divides"))


def test_weights_that_are_not_finite_are_not_handed_to_the_engine(policy_args) -> None:
    with pytest.raises(FloatingPointError, match=r"not handed to the engine: weights are not finite: .*lora_A"):
        main(policy_args("fit", f"--trainer.callbacks={HERE}.Breaks", "--trainer.accumulate_grad_batches=1"))


def test_adapters_whose_product_overflows_are_handed_to_nobody(tiny_model: str) -> None:
    policy = PolicyModule(model=tiny_model)
    policy.configure_model()
    for name, parameter in policy.named_parameters():
        if "lora_" in name:
            torch.nn.init.constant_(parameter, 1e30)
    assert all(parameter.isfinite().all() for parameter in policy.parameters())
    with pytest.raises(FloatingPointError, match="is not finite as it would be handed to an engine"):
        list(policy.full_weights())


def test_where_nothing_is_known_there_is_neither_reward_nor_accuracy(policy_args) -> None:
    """All responses are cut off at 8 tokens, and such ones are masked."""
    flags = ("--trainer.max_steps=1", "--rollout.mask_truncated=true", "--idle.stop=0")
    metrics = main(policy_args("fit", *flags)).trainer.logged_metrics
    assert metrics["rollout/reward_unknown"] == metrics["rollout/unscorable"] == 1
    assert {"rollout/reward", "rollout/rubric_accuracy", "rollout/instruction_accuracy"}.isdisjoint(metrics)
    assert not nonfinite_names(metrics.items())


@pytest.mark.parametrize("flags", [(), ("--rollout.sampling.top_k=5",)], ids=["given", "not given"])
def test_a_gap_is_logged_only_where_the_sampler_gave_log_probs(policy_args, flags: tuple[str, ...]) -> None:
    metrics = main(policy_args("fit", "--trainer.max_steps=1", *flags)).trainer.logged_metrics
    assert ("train/logprob_gap" in metrics) == (not flags)
    assert metrics["train/grad_norm"] >= 0
    assert not nonfinite_names(metrics.items())
