"""The rollout callback in real runs of the tiny policy: what it samples, judges, logs, writes and keeps."""

import asyncio
import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from transformers import AutoModelForCausalLM

from rtt_lightning.commands.run import main
from rtt_lightning.lm.layout import tokens_read
from rtt_lightning.modules import PolicyModule
from rtt_lightning.runtime.phases import PHASES
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.callbacks.ragged import ASKED, FP32_SGD, RAGGED, brief, rows_of


class Seen(PolicyModule):
    """Keeps the micro-batches that it trains on, and the gradients of its updates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[dict[str, Any]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen.append(batch)
        return super().training_step(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in self.named_parameters() if p.grad is not None})
        super().on_before_optimizer_step(optimizer)


SEEN = "--model=tests.callbacks.test_rollout.Seen"


class Moody(RuleVerifier):
    """Knows a checker that always fails."""

    def __init__(self) -> None:
        super().__init__({"test:broken": self.broken})

    @staticmethod
    def broken(answer: str) -> Verdict:
        raise RuntimeError("[red]no mood[/red]")


# -- what is logged and written ------------------------------------------------------------------------------------


def test_the_logged_figures_are_those_of_the_window(policy_args, tmp_path: Path) -> None:
    flags = ("--trainer.max_steps=1", RAGGED, brief(tmp_path, ASKED), "--model.init_args.lora=null")
    metrics = {k: v.item() for k, v in main(policy_args("fit", *flags)).trainer.logged_metrics.items()}
    rows = rows_of(tmp_path)
    assert len(rows) == 6  # 2 prompts, 3 responses each
    rewards = [sum(row["met"]) / 2 for row in rows]
    assert len(set(rewards)) > 1
    lengths = [len(row["response_ids"]) for row in rows]
    assert len(set(lengths)) > 3
    flat = [len(set(rewards[start : start + 3])) == 1 for start in (0, 3)]
    several = [len(set(map(tuple, row["offsets"]))) > 1 for row in rows]  # a single token has no spread
    live = [lives for row, lives in zip(rows, several, strict=True) for _ in row["met"]]
    verdicts = [met for row in rows for met in row["met"]]
    expected = {
        "reward": sum(rewards) / 6,
        "rubric_accuracy": sum(verdicts) / len(verdicts),
        "instruction_accuracy": sum(all(row["met"]) for row in rows) / 6,
        "undecided_share": 0.0,
        "unscorable": 0.0,
        "reward_unknown": 0.0,
        "length": sum(lengths) / 6,
        "truncated": 1 / 3,  # one of three sample indices is odd
        "live_cells": sum(live) / len(live),
        "zero_variance_groups": sum(flat) / 2,
    }
    assert {name: metrics[f"rollout/{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert 0 < metrics["train/entropy"] < torch.tensor(49152.0).log()  # the vocabulary of the tiny model
    assert 0 <= metrics["train/logprob_gap"] < 1e-4  # sampled from the very weights that train


def test_the_window_is_written_with_the_advantages_that_train(policy_args, tmp_path: Path) -> None:
    """Intra-sample token credit sums to 0 over a response, so a row's advantages sum to T times A_res."""
    run = main(policy_args("fit", SEEN, "--trainer.max_steps=1", RAGGED, brief(tmp_path, ASKED)))
    rows = rows_of(tmp_path)
    rewards = torch.tensor([sum(row["met"]) / 2 for row in rows]).view(2, 3)
    response = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)
    assert response.any()
    for row, advantage in zip(rows, response.flatten().tolist(), strict=True):
        assert len(row["advantages"]) == len(row["response_ids"]) == len(row["offsets"])
        assert sum(row["advantages"]) == pytest.approx(len(row["advantages"]) * advantage, abs=1e-4)
        assert all(0 <= p <= 1 for weights in row["relevance"] for p in weights)
        assert {len(weights) for weights in row["relevance"]} == {len(row["advantages"])}
    trained = torch.cat([batch["advantages"][batch["response_mask"]] for batch in run.model.seen])
    assert trained.tolist() == pytest.approx([a for row in rows for a in row["advantages"]])


class Slow(RuleVerifier):
    """Takes half a second, for many responses at once."""

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        await asyncio.sleep(0.5)
        return await super().verify(sample, answer)


def test_the_seconds_of_phases_add_up_to_those_of_the_run(policy_args) -> None:
    """Two windows, with an evaluation after each, which samples and judges too: that is idle."""
    flags = (
        "--data.view.init_args.updates=2",
        "--trainer.max_steps=4",
        "--trainer.check_val_every_n_epoch=null",
        "--trainer.val_check_interval=4",
        "--trainer.limit_val_batches=1",
        "--rollout.evaluation={top_p: 1, top_k: 0, max_new_tokens: 8}",
        "--trainer.callbacks=[tests.callbacks.test_rollout.Stopwatch]",
    )
    slow = ("--rollout.verifier=tests.callbacks.test_rollout.Slow", "--rollout.verifier.init_args.workers=0")
    run = main(policy_args("fit", RAGGED, *flags, *slow))
    [watch] = [callback for callback in run.trainer.callbacks if isinstance(callback, Stopwatch)]
    assert len(watch.ends) - 1 == len(watch.logged) == 2
    for since, until, seen in zip(watch.ends[:-1], watch.ends[1:], watch.logged, strict=True):
        seconds = {phase: seen[f"time/{phase}"] for phase in PHASES}
        assert sum(seconds.values()) == pytest.approx(until - since, abs=0.3)
        assert 0.4 < seconds["judging"] < 0.9  # of the last responses
        assert min(seconds["sampling"], seconds["update"]) > 0
        tokens = sum(1 + (5 * group + 3 * sample) % 8 for group in range(2) for sample in range(3))
        assert seen["time/sampled_tokens_per_second"] == pytest.approx(tokens / seconds["sampling"], rel=1e-4)
        assert seen["time/trained_tokens_per_second"] == pytest.approx(tokens / seconds["update"], rel=1e-4)
        assert seen["time/padding_efficiency"] == 1  # prompts are shared
        assert 0.1 < seen["time/peak_gib"] < 64
        assert "time/flops_utilisation" not in seen or torch.cuda.is_available()


class Stopwatch(Callback):
    """When training began and windows ended, and what was logged of them by then."""

    def on_train_start(self, *_: Any) -> None:
        self.ends, self.logged = [time.monotonic()], []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch["micro_batch"] == 3:
            self.ends.append(time.monotonic())

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})


# -- the loss ------------------------------------------------------------------------------------------------------


def test_accumulation_changes_no_gradient(policy_args, tiny_model: str, tmp_path: Path) -> None:
    """3 ragged groups in 1, 2 or 4 micro-batches (the last with an empty one): the same mean over tokens."""
    start = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    flags = (SEEN, "--trainer.max_steps=1", "--data.view.init_args.prompts=3", RAGGED, brief(tmp_path), *FP32_SGD)
    runs = [main(policy_args("fit", *flags, f"--trainer.accumulate_grad_batches={n}")) for n in (1, 2, 4)]
    sizes = [[len(batch["advantages"]) for batch in run.model.seen] for run in runs]
    assert sizes == [[9], [3, 6], [0, 3, 3, 3]]
    steps = [{name: value - start[name] for name, value in run.model.model.state_dict().items()} for run in runs]
    largest = max(step.abs().max().item() for step in steps[0].values())
    assert largest > 1e-3
    for name, step in steps[0].items():
        for other in steps[1:]:
            torch.testing.assert_close(other[name], step, atol=1e-4 * largest, rtol=1e-3, msg=name)
    losses = [run.trainer.logged_metrics["train/loss"].item() for run in runs]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_a_budget_of_tokens_changes_no_gradient_and_is_said_once_where_it_does_not_hold(
    policy_args, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Two windows of 2 updates, each of 2 prompts of 37 tokens with 3 responses of 1 to 8."""
    flags = ("--data.view.init_args.prompts=4", "--data.view.init_args.updates=2", "--trainer.max_steps=4")
    flags += (SEEN, RAGGED, brief(tmp_path, ASKED), *FP32_SGD, "--model.init_args.optimizer.init_args.lr=0.01")
    runs, said, budget = [], [], 45
    for parts, tokens in ((1, "null"), (8, budget), (3, budget)):
        more = (f"--rollout.micro_batch_tokens={tokens}", f"--trainer.accumulate_grad_batches={parts}")
        recwarn.clear()
        runs.append(main(policy_args("fit", *flags, *more)))
        said.append([str(each.message) for each in recwarn if "micro_batch_tokens" in str(each.message)])
    sizes = [[tokens_read(batch, share=True) for batch in run.model.seen] for run in runs]
    assert min(sizes[0]) > 2 * budget  # groups are divided
    assert 0 < max(sizes[1]) <= budget
    assert [bool(size) for size in sizes[1][:8]] == [False] * 4 + [True] * 4
    assert all(sizes[2])
    assert [len(each) for each in said] == [0, 0, 1]
    assert "window 0 does not fit in 3 micro-batches per update of at most 45 tokens" in said[2][0]
    assert "raise trainer.accumulate_grad_batches to 4" in said[2][0]
    first, *others = (run.model for run in runs)
    for model in others:
        for name, gradient in first.gradients[0].items():
            close = 1e-5 * gradient.abs().max().item()
            torch.testing.assert_close(model.gradients[0][name], gradient, atol=close, rtol=1e-5, msg=name)
        for name, weight in first.model.state_dict().items():
            torch.testing.assert_close(model.model.state_dict()[name], weight, atol=1e-6, rtol=1e-5, msg=name)


def test_each_epoch_trains_on_all_its_windows(policy_args, tmp_path: Path) -> None:
    flags = ("--trainer.max_steps=-1", "--trainer.max_epochs=3", "--data.source.init_args.train=4")
    run = main(policy_args("fit", *flags))
    assert run.trainer.global_step == 6  # 3 epochs of 4 prompts in windows of 2
    prompts = [[row["id"] for row in rows_of(tmp_path, f"window-{n:06d}")] for n in range(6)]
    assert all(set(one).isdisjoint(other) for one, other in zip(prompts[::2], prompts[1::2], strict=True))


# -- failures never become rewards ---------------------------------------------------------------------------------


def test_masked_truncated_responses_are_unscorable_and_move_nothing(policy_args, tmp_path: Path) -> None:
    flags = ("--trainer.max_steps=1", RAGGED, brief(tmp_path, ASKED), "--rollout.mask_truncated=true")
    metrics = main(policy_args("fit", *flags)).trainer.logged_metrics
    rows = rows_of(tmp_path)
    for row in rows:
        cut = row["finish_reason"] == "length"
        assert cut == row["sample_index"] % 2
        assert [met is None for met in row["met"]] == [cut, cut]
        assert row["criteria"].count("response truncated at the token limit") == 2 * cut
        assert not cut or not any(row["advantages"])
    judged = [row["met"] for row in rows if row["finish_reason"] == "stop"]
    assert 0 < metrics["rollout/reward"] == pytest.approx(sum(sum(met) / 2 for met in judged) / 4)
    assert metrics["rollout/unscorable"] == pytest.approx(1 / 3)
    assert metrics["rollout/reward_unknown"] == pytest.approx(1 / 3)


def test_a_checker_that_raises_is_counted_and_earns_nothing(policy_args, tmp_path: Path) -> None:
    moody = "--rollout.verifier=tests.callbacks.test_rollout.Moody"
    data = brief(tmp_path, {"text": "In a good mood.", "checker": "test:broken"})
    metrics = main(policy_args("fit", "--trainer.max_steps=1", RAGGED, data, moody)).trainer.logged_metrics
    rows = rows_of(tmp_path)
    assert {row["met"][1] for row in rows} == {None}
    assert all("test:broken: RuntimeError: [red]no mood[/red]" in row["criteria"] for row in rows)
    share = sum(row["met"][0] for row in rows) / 6
    assert 0 < share < 1
    assert metrics["rollout/unscorable"] == 0.5
    assert metrics["rollout/reward"] == pytest.approx(share)
    assert metrics["rollout/rubric_accuracy"] == pytest.approx(share)
    # Unmet first criterion: known to fail. Met first criterion: it may pass.
    assert "rollout/instruction_accuracy" not in metrics
    assert metrics["rollout/instruction_accuracy_lower_bound"] == 0
    assert metrics["rollout/instruction_accuracy_upper_bound"] == pytest.approx(share)
    assert metrics["rollout/undecided_share"] == 1


def test_that_the_reward_ignores_weights_is_said_once_when_training_begins(policy_args, tmp_path: Path) -> None:
    data = brief(tmp_path, ASKED | {"weight": 2.0})
    with pytest.warns(UserWarning, match="the rewards of RTT use only the signs of weights") as said:
        main(policy_args("fit", RAGGED, data))
    assert sum("signs of weights" in str(warning.message) for warning in said) == 1


class Fading(RuleVerifier):
    """Decides the first window's criteria, and of later ones only the first criterion."""

    calls = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.calls += 1
        found = await super().verify(sample, answer)
        return found if self.calls <= 6 else [found[0], *[Verdict.unscorable("faded")] * (len(found) - 1)]


def test_what_is_not_known_of_a_window_is_not_that_of_the_window_before(policy_args, tmp_path: Path) -> None:
    """Lightning's logs repeat what was logged last; each reward with an undecided criterion is unknown."""
    flags = (
        "--rollout.verifier=tests.callbacks.test_rollout.Fading",
        "--rollout.verifier.init_args.workers=0",
        "--model.init_args.algorithm.init_args.response_reward=rtt_lightning.functional.rewards.all_or_nothing",
        f"--trainer.logger={json.dumps(csv_logger(tmp_path))}",
        "--trainer.log_every_n_steps=1",
    )
    main(policy_args("fit", RAGGED, brief(tmp_path, ASKED), *flags))
    with (tmp_path / "log/metrics.csv").open() as lines:
        rows = {row["step"]: row for row in csv.DictReader(lines)}
    whole, share, unknown = (
        f"rollout/{name}" for name in ("instruction_accuracy", "undecided_share", "reward_unknown")
    )
    assert [float(rows["0"][name]) for name in (share, unknown)] == [0, 0]
    assert 0 <= float(rows["0"][whole]) <= 1
    assert [float(rows["1"][name]) for name in (share, unknown)] == [1, 1]
    assert rows["1"][whole] in ("", "nan")
    assert float(rows["1"]["rollout/instruction_accuracy_lower_bound"]) == 0


def csv_logger(folder: Path) -> dict[str, Any]:
    arguments = {"save_dir": str(folder), "name": "log", "version": ""}
    return {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": arguments}


# -- resuming ------------------------------------------------------------------------------------------------------


def test_a_resumed_run_ends_with_the_weights_of_the_unbroken_one(policy_args, tmp_path: Path) -> None:
    """Resumed in the middle of a window, whose rollouts are then in the checkpoint, and at the end of an epoch.

    An epoch is 2 windows of 2 updates.
    """
    saving = (
        "--trainer.enable_checkpointing=true",
        "--trainer.callbacks=lightning.pytorch.callbacks.ModelCheckpoint",
        f"--trainer.callbacks.dirpath={tmp_path}",
        "--trainer.callbacks.filename={step}",
        "--trainer.callbacks.every_n_train_steps=1",
        "--trainer.callbacks.save_top_k=-1",
    )
    flags = ("--data.view.init_args={prompts: 4, updates: 2}", "--trainer.max_steps=6")
    whole = main(policy_args("fit", *flags, *saving)).model
    for step, sampled in ((1, [1, 2]), (4, [2])):
        folder = tmp_path / f"after-{step}"
        more = ("--rollout.output", str(folder), "--ckpt_path", str(tmp_path / f"step={step}.ckpt"))
        resumed = main(policy_args("fit", *flags, *more)).model
        for (name, one), (_, other) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
            assert torch.equal(one, other), (step, name)
        assert sorted(path.name for path in folder.iterdir()) == [f"window-{n:06d}.parquet" for n in sampled]
