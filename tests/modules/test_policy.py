"""GRPO and RTT end to end on a tiny model, and the promises of the training loop."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from transformers import AutoModelForCausalLM

from rtt_lightning.commands.run import main
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.engines import TransformersEngine
from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import Lora, adapters_merged, merged_weights, trainable_names
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Rollout
from rtt_lightning.types.errors import UserError
from tests.callbacks.ragged import FP32_SGD


def moved(module: PolicyModule) -> float:
    """Largest LoRA B weight; they start at 0."""
    return max(p.abs().max().item() for n, p in module.named_parameters() if "lora_B" in n)


def test_fit_moves_the_adapters_and_nothing_else(policy_args) -> None:
    module = main(policy_args("fit")).model
    assert moved(module) > 0
    assert all("lora_" in name for name in trainable_names(module))
    assert all(p.dtype == torch.float32 for p in module.parameters() if p.requires_grad)


def test_adapters_in_the_place_of_the_algorithm_are_told() -> None:
    with pytest.raises(ValueError, match=r"algorithm must be an Algorithm .* got Lora\(rank=8.*; adapters are lora="):
        PolicyModule("none", Lora(rank=8))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "reward", ["all_or_nothing", "all_or_nothing_lower_bound", "satisfaction_rate", "weighted_mean"]
)
def test_each_response_reward_trains(policy_args, reward: str) -> None:
    flag = f"--model.init_args.algorithm.init_args.response_reward=rtt_lightning.functional.rewards.{reward}"
    run = main(policy_args("fit", flag))
    assert run.model.algorithm.response_level.response_reward.__name__ == reward
    assert run.trainer.global_step == 2


def test_the_next_window_is_sampled_with_the_weights_after_this_one(policy_args) -> None:
    """Sampler log-probs of window n+1 equal those of the weights after window n, and not those before it."""
    gaps: dict[str, list[float]] = {"now": [], "before": []}

    class Compare(Callback):
        before: dict[str, Tensor] | None = None

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            current = {n: p.detach().clone() for n, p in pl_module.named_parameters() if p.requires_grad}
            if batch["micro_batch"]:
                return
            gaps["now"].append(self.gap(pl_module, batch))
            if self.before is not None:
                pl_module.load_state_dict(self.before, strict=False)
                gaps["before"].append(self.gap(pl_module, batch))
                pl_module.load_state_dict(current, strict=False)
            self.before = current

        @staticmethod
        @torch.no_grad()
        def gap(module, batch) -> float:
            logprobs = module.response_logprobs(batch)[0]
            return (logprobs - batch["sampler_logprobs"])[batch["response_mask"]].abs().mean().item()

    run = main(policy_args("fit", "--trainer.max_steps", "1", "--model.init_args.lora", "null"))
    run.trainer.callbacks.append(Compare())
    run.trainer.fit_loop.epoch_loop.max_steps = 4
    run.trainer.fit(run.model, datamodule=run.datamodule)
    assert len(gaps["before"]) >= 2
    assert max(gaps["now"]) < 1e-3
    assert min(gaps["before"]) > 5 * max(gaps["now"])


def test_two_updates_per_window_use_the_log_probs_of_the_window(policy_args) -> None:
    """The second update's ratio is to them, and so is the gap to the sampler, which sampled with the same weights."""
    run = main(policy_args("fit", "--data.view.init_args.updates", "2", "--trainer.max_steps", "4"))
    assert run.trainer.global_step == 4
    assert run.trainer.logged_metrics["train/clipped"] > 0
    assert run.trainer.logged_metrics["train/logprob_gap"] < 1e-3


class Doubtful(TransformersEngine):
    """Says half a nat less of its tokens than the policy does: each weight is exp(0.5)."""

    def generate(self, *args: Any) -> Iterator[Rollout]:
        for row in super().generate(*args):
            yield replace(row, logprobs=row.logprobs and tuple(value - 0.5 for value in row.logprobs))


def test_importance_weights_multiply_the_surrogate_and_nothing_else(policy_args, tiny_model: str) -> None:
    start = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    engine = (f"--rollout.engine={__name__}.Doubtful", "--trainer.max_steps=1", *FP32_SGD)

    def step(entropy: float, cap: str) -> dict[str, Tensor]:
        flags = (f"--model.init_args.entropy_coef={entropy}", f"--model.init_args.importance_cap={cap}")
        run = main(policy_args("fit", *engine, *flags))
        metrics.append({name: value.item() for name, value in run.trainer.logged_metrics.items()})
        return {name: value - start[name] for name, value in run.model.model.state_dict().items()}

    metrics: list[dict[str, float]] = []
    plain, bonus, weighed, capped = step(0, "null"), step(0.1, "null"), step(0.1, "2"), step(0.1, "1")
    largest = max(value.abs().max().item() for value in plain.values())
    assert largest > 1e-4
    for name, value in plain.items():
        assert torch.equal(capped[name], bonus[name]), name
        expected = bonus[name] + (exp(0.5) - 1) * value
        torch.testing.assert_close(weighed[name], expected, atol=1e-3 * largest, rtol=1e-3, msg=name)
    found = [(each.get("train/importance_weight"), each.get("train/importance_capped")) for each in metrics]
    assert found == [(None, None), (None, None), (pytest.approx(exp(0.5), rel=1e-4), 0), (1, 1)]
    assert metrics[2]["train/policy_loss"] == pytest.approx(exp(0.5) * metrics[0]["train/policy_loss"], abs=1e-6)


@pytest.mark.parametrize("cap", [0.5, math.inf, math.nan])
def test_a_cap_below_1_or_without_bound_is_told(cap: float) -> None:
    with pytest.raises(UserError, match=f"importance_cap must be finite and >= 1, or null for no weights, got {cap}"):
        PolicyModule("none", importance_cap=cap)


def test_uniform_relevance_makes_rtt_plain_grpo(policy_args) -> None:
    flags = ("--rollout.relevance", "rtt_lightning.UniformRelevance")
    rtt = main(policy_args("fit", *flags)).model
    grpo = main(policy_args("fit", *flags, "--model.init_args.algorithm=rtt_lightning.GRPO")).model
    for (name, one), (_, other) in zip(rtt.named_parameters(), grpo.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_validate_writes_completions_that_can_be_read_as_labelled_records(policy_args, tmp_path: Path) -> None:
    main(policy_args("validate", "--trainer.limit_val_batches", "1.0"))
    judged = read_judged(tmp_path / "completions/validate.parquet")
    metrics = json.loads((tmp_path / "completions/validate.json").read_text())
    assert len(judged) == 4
    desired = [v.met for item in judged for v in item.verdicts if v.met is not None]
    assert metrics["val/rubric_accuracy"] == pytest.approx(sum(desired) / len(desired))
    assert metrics["val/reference_gap"] == pytest.approx(0, abs=1e-3)  # an untrained adapter is the reference
    assert "val/kl" not in metrics  # evaluation draws by top-p and top-k here


def test_a_kl_is_called_one_where_samples_come_from_the_full_softmax(policy_args) -> None:
    """Training by top-p, evaluation without; per token and per response."""
    full, cut = (f"{{n: 2, max_new_tokens: 8, top_p: {top_p}, top_k: 0}}" for top_p in (1.0, 0.9))
    flags = ("--model.init_args.kl_coef=0.1", "--trainer.limit_val_batches=1.0", "--trainer.val_check_interval=4")
    run = main(policy_args("fit", *flags, f"--rollout.sampling={cut}", f"--rollout.evaluation={full}"))
    metrics = {name: value.item() for name, value in run.trainer.callback_metrics.items()}
    names = ("train/reference_gap", "val/kl")
    found = {name for name in metrics if "kl" in name or "reference_gap" in name}
    assert found == {*names, *(f"{name}_per_response" for name in names)}
    for name in names:  # every response has 1 to 8 tokens
        assert 0 < metrics[name] <= metrics[f"{name}_per_response"] <= 8.001 * metrics[name]


def test_a_checkpoint_holds_trained_weights_only_and_flags_win_over_it(policy_args, tmp_path: Path) -> None:
    run = main(policy_args("fit", "--trainer.enable_checkpointing", "true"))
    path = tmp_path / "policy.ckpt"
    run.trainer.save_checkpoint(path)
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert set(saved) == trainable_names(run.model)
    again = main(
        policy_args(
            "validate",
            "--ckpt_path",
            str(path),
            "--model.init_args.algorithm.init_args.beta",
            "0.125",
            "--trainer.limit_val_batches",
            "1.0",
        )
    ).model
    assert again.algorithm.beta == 0.125
    assert all(torch.equal(saved[name], value) for name, value in again.state_dict().items() if name in saved)


def test_a_checkpoint_of_another_shape_is_refused(policy_args, tmp_path: Path) -> None:
    path = tmp_path / "policy.ckpt"
    main(policy_args("fit", "--trainer.enable_checkpointing", "true")).trainer.save_checkpoint(path)
    with pytest.raises(ValueError, match="continues something else than this run has: lora "):
        main(
            policy_args(
                "validate",
                "--ckpt_path",
                str(path),
                "--model.init_args.lora",
                "null",
                "--trainer.limit_val_batches",
                "1.0",
            )
        )


def test_bf16_weights_are_refused(policy_args) -> None:
    with pytest.raises(ValueError, match="must be fp32"):
        main(policy_args("fit", "--trainer.precision", "bf16-true"))


def test_a_step_at_1e6_moves_fp32_masters_under_bf16_mixed(policy_args) -> None:
    flags = ("--trainer.precision", "bf16-mixed", "--model.init_args.optimizer.init_args.lr", "1e-6")
    assert 0 < moved(main(policy_args("fit", *flags)).model) < 1e-5


@pytest.mark.parametrize("lora", ["null", "{rank: 4, alpha: 8}"])
def test_gradient_checkpointing_recomputes_each_layer_in_the_backward_pass(policy_args, lora: str) -> None:
    class Count(Callback):
        forwards = 0

        def on_before_backward(self, trainer, pl_module, loss) -> None:
            layer = pl_module.model.get_submodule(
                "model.layers.0" if lora == "null" else "base_model.model.model.layers.0"
            )
            self.hook = layer.input_layernorm.register_forward_hook(self.seen)

        def seen(self, *_) -> None:
            self.forwards += 1

        def on_after_backward(self, trainer, pl_module) -> None:
            self.hook.remove()

    counts = []
    for checkpointing in ("false", "true"):
        count = Count()
        flags = (f"--model.init_args.lora={lora}", f"--model.init_args.gradient_checkpointing={checkpointing}")
        run = main(policy_args("fit", *flags, "--trainer.max_steps=1"))
        run.trainer.callbacks.append(count)
        run.trainer.fit_loop.epoch_loop.max_steps = 2
        run.trainer.fit(run.model, datamodule=run.datamodule)
        counts.append(count.forwards)
    assert counts == [0, 2]  # two micro-batches per update


def test_merged_weights_compute_what_the_adapters_compute(tiny_model: str) -> None:
    policy = PolicyModule(model=tiny_model)
    policy.configure_model()
    policy.model.float()
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    batch = {
        "prompt_ids": torch.tensor([[5, 6, 7], [8, 9, 0]]),
        "prompt_lengths": torch.tensor([3, 2]),
        "response_ids": torch.tensor([[10, 11], [12, 0]]),
        "response_mask": torch.tensor([[True, True], [True, False]]),
        "temperature": torch.tensor([1.0, 0.5]),
    }
    expected = policy.response_logprobs(batch)[0]
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    with adapters_merged(policy.model):
        torch.testing.assert_close(response_logprobs(policy.model, batch)[0], expected, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[name], p) for name, p in policy.model.named_parameters())
    plain = PolicyModule(model=tiny_model, lora=None)
    plain.configure_model()
    plain.model.load_state_dict(dict(merged_weights(policy.model)), strict=False)
    torch.testing.assert_close(plain.response_logprobs(batch)[0], expected, atol=1e-4, rtol=1e-4)
