"""Sampling one window ahead: from which weights, how a run goes on, and how it ends."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import main
from rtt_lightning.types import OutsideFailure
from rtt_lightning.types.errors import UserError
from tests.callbacks.elsewhere import AHEAD, ELSEWHERE, Elsewhere

Args = Callable[..., list[str]]
TWO_UPDATES = ("--data.view.init_args={prompts: 4, updates: 2}", "--trainer.max_steps=6")  # 2 windows are an epoch


@pytest.fixture(autouse=True)
def _forget() -> None:
    Elsewhere.versions.clear()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = weights_of(one), weights_of(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def rollout_of(trainer: Any) -> RolloutCallback:
    [rollout] = [callback for callback in trainer.callbacks if isinstance(callback, RolloutCallback)]
    return rollout


def sampling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rollout-ahead"]


class Compare(Callback):
    """Of each window: its prompts, versions and staleness, and how far the sampler's log-probs are from those of the
    weights at the start of each window so far.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.rollout = rollout_of(trainer)
        self.weights: list[dict[str, Tensor]] = []
        self.versions: list[set[int]] = []
        self.gaps: list[list[float]] = []
        self.stale: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch["micro_batch"]:  # the first of two comes before the first update
            return
        records = trainer.datamodule.records["train"]
        expected = [records[index].sample for index in batch["prompts"] for _ in range(3)]
        assert [item.sample for item in self.rollout.judged] == expected
        self.versions.append({item.rollout.policy_version for item in self.rollout.judged})
        self.stale.append(float(trainer.callback_metrics["rollout/staleness"]))
        self.weights.append(weights_of(pl_module))
        self.gaps.append([self.gap(pl_module, batch, weights) for weights in self.weights])

    @staticmethod
    @torch.no_grad()
    def gap(policy: Any, batch: Any, weights: dict[str, Tensor]) -> float:
        policy.load_state_dict(weights, strict=False)
        logprobs = policy.response_logprobs(batch)[0]
        return float((logprobs - batch["sampler_logprobs"])[batch["response_mask"]].abs().mean())


def test_each_window_is_sampled_from_the_weights_before_those_of_the_window_before(policy_args: Args) -> None:
    """Three windows of two updates, over an epoch's end."""
    run = main(policy_args("fit", *TWO_UPDATES, *AHEAD, f"--trainer.callbacks=[{__name__}.Compare]"))
    [seen] = [callback for callback in run.trainer.callbacks if isinstance(callback, Compare)]
    assert seen.versions == [{0}, {0}, {2}]
    assert Elsewhere.versions == [0, 0, 2]  # none after the last window
    assert seen.stale == [0, 2, 2]
    for window, source in enumerate((0, 0, 1)):
        assert seen.gaps[window][source] < 1e-3
        assert all(gap > 0.01 for number, gap in enumerate(seen.gaps[window]) if number != source)
    metrics = run.trainer.logged_metrics
    assert 1e-4 < abs(metrics["train/importance_weight"] - 1) < 0.2
    assert 0 <= metrics["train/importance_capped"] < 0.1
    assert "time/sampled_tokens_per_second" not in metrics


# -- resuming ------------------------------------------------------------------------------------------------------


def saving(folder: Path) -> tuple[str, ...]:
    return (
        "--trainer.enable_checkpointing=true",
        "--trainer.callbacks=lightning.pytorch.callbacks.ModelCheckpoint",
        f"--trainer.callbacks.dirpath={folder}",
        "--trainer.callbacks.filename={step}",
        "--trainer.callbacks.every_n_train_steps=1",
        "--trainer.callbacks.save_top_k=-1",
    )


def test_a_resumed_run_ends_with_the_weights_of_the_unbroken_one(policy_args: Args, tmp_path: Path) -> None:
    """Within a window, and at an epoch's end: the responses to the next window are in the checkpoint."""
    whole = main(policy_args("fit", *TWO_UPDATES, *AHEAD, *saving(tmp_path))).model
    for step, sampled in ((1, [2]), (4, [])):
        Elsewhere.versions.clear()
        resumed = main(policy_args("fit", *TWO_UPDATES, *AHEAD, f"--ckpt_path={tmp_path}/step={step}.ckpt")).model
        assert_equal(whole, resumed)
        assert Elsewhere.versions == sampled


def test_validation_waits_for_what_is_sampled_and_keeps_it(policy_args: Args) -> None:
    """The engine asserts that its weights do not change meanwhile."""
    slow = (*TWO_UPDATES, *AHEAD, "--rollout.engine=tests.callbacks.elsewhere.Slow", "--trainer.max_steps=4")
    validating = (
        "--trainer.val_check_interval=2",
        "--trainer.limit_val_batches=1.0",
        "--data.view.init_args.eval_prompts=4",  # one batch
        "--rollout.evaluation={top_p: 1, top_k: 0, max_new_tokens: 8}",
    )
    main(policy_args("fit", *slow, *validating))
    assert Elsewhere.versions == [0, 0, 1, 2, 3, 4]  # two windows, then validation after each update


# -- ends ----------------------------------------------------------------------------------------------------------


def test_an_error_while_sampling_ahead_is_that_of_the_window_that_needs_it(policy_args: Args) -> None:
    """The first window is trained on, and saved; its checkpoint samples the second one again."""
    engine = ("--rollout.engine=tests.callbacks.elsewhere.Failing",)
    run = main(policy_args("fit", *AHEAD, *engine, "--trainer.max_steps=0"))
    run.trainer.fit_loop.epoch_loop.max_steps = 4
    rollout, states = rollout_of(run.trainer), []

    class Save(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            states.append(rollout.state_dict()["ahead"])

    run.trainer.callbacks.append(Save())
    with pytest.raises(OutsideFailure, match="no server is left"):
        run.trainer.fit(run.model, datamodule=run.datamodule)
    assert run.trainer.global_step == 1
    assert states == [[], []]
    assert not sampling_threads()


def test_a_run_that_fails_ends_its_sampling_at_the_next_response(policy_args: Args) -> None:
    class Break(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            assert sampling_threads()
            raise RuntimeError("enough")

    flags = ("--rollout.engine=tests.callbacks.elsewhere.Slow", "--rollout.sampling={n: 60, max_new_tokens: 4}")
    run = main(policy_args("fit", *AHEAD, *flags, "--trainer.max_steps=0"))
    run.trainer.fit_loop.epoch_loop.max_steps = 4
    run.trainer.callbacks.append(Break())
    with pytest.raises(RuntimeError, match="enough"):
        run.trainer.fit(run.model, datamodule=run.datamodule)
    began = time.monotonic()
    for thread in sampling_threads():
        thread.join()
    assert time.monotonic() - began < 3  # 120 responses would take 12 seconds


# -- settings that do not fit --------------------------------------------------------------------------------------

WRONG = {
    "the policy's weights": (
        ("--rollout.ahead=1", "--model.init_args.importance_cap=2"),
        "TransformersEngine needs the device or the weights that train: set rollout.engine to VLLMServerEngine",
    ),
    "no weights": ((ELSEWHERE, "--rollout.ahead=1"), "set model.init_args.importance_cap, such as to 2"),
    "a part of the vocabulary": (
        ("--model.init_args.importance_cap=2", "--rollout.sampling={top_p: 0.9, top_k: 5}"),
        "got top_p 0.9, top_k 5 and temperature 1: set these, or importance_cap to null",
    ),
    "no log-probs": (
        ("--model.init_args.importance_cap=2", "--rollout.engine=tests.distributed.recorder.SeededEngine"),
        "the engine gave no log-probs for 6 of 6 responses",
    ),
}


@pytest.mark.parametrize(("flags", "message"), WRONG.values(), ids=WRONG)
def test_settings_that_do_not_fit_are_refused(policy_args: Args, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(policy_args("fit", *flags))
    assert not Elsewhere.versions


def test_no_more_than_one_window_is_sampled_ahead() -> None:
    with pytest.raises(UserError, match=r"rollout\.ahead is the number of windows sampled ahead, 0 or 1, got 2"):
        RolloutCallback(ahead=2)
