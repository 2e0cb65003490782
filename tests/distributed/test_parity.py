"""Two processes compute what one does: losses, gradients and weights, with uneven rows and an empty micro-batch."""

from pathlib import Path

import pytest
import torch

from tests.distributed.conftest import DDP, FSDP, Run

pytestmark = pytest.mark.slow

POLICY = (
    "--rollout.engine=tests.distributed.recorder.SeededEngine",
    "--model.init_args.lora=null",
    "--model.init_args.entropy_coef=0.01",  # random responses earn equal rewards: without it the loss cancels to 0
    "--model.init_args.optimizer.class_path=torch.optim.SGD",
    "--model.init_args.optimizer.init_args={lr: 0.1}",
    "--data.view.init_args.prompts=3",  # two of them on the first process, one on the second
    "--trainer.accumulate_grad_batches=2",  # so the second one's first micro-batch is empty
    "--trainer.gradient_clip_val=1.0",
)
BUDGET = ("--rollout.micro_batch_tokens=80", "--trainer.accumulate_grad_batches=4")


def recorded(rtt: Run, path: Path, *arguments: str, processes: int = 1) -> dict:
    recorder = f"--trainer.callbacks+={{class_path: tests.distributed.recorder.Recorder, init_args: {{path: {path}}}}}"
    path.unlink(missing_ok=True)
    rtt("fit", *arguments, recorder, processes=processes)
    return torch.load(path, weights_only=True)


def assert_equal_runs(one: dict, other: dict) -> None:
    assert len(one["updates"]) == len(other["updates"]) == 2
    for mine, theirs in zip(one["updates"], other["updates"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5, abs=1e-7)
        close(mine["gradients"], theirs["gradients"])
    close(one["weights"], other["weights"])


def close(mine: dict, theirs: dict) -> None:
    """Equal to a relative 1e-5, measured against the largest entry of each tensor."""
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert (value - theirs[name]).abs().max() <= 1e-5 * value.abs().max() + 1e-9, name


@pytest.mark.parametrize("updates", ["1", "2"], ids=["one-update", "two-updates-per-window"])
def test_two_processes_train_the_policy_as_one_does(rtt: Run, policy_args, tmp_path: Path, updates: str) -> None:
    """With two updates, the two processes divide groups by a budget of tokens, each into another number of parts."""
    arguments = policy_args("fit", *POLICY, f"--data.view.init_args.updates={updates}")[1:]
    budget = BUDGET if updates == "2" else ()
    one = recorded(rtt, tmp_path / "one.pt", *arguments)
    for strategy in (DDP, FSDP):
        two = recorded(rtt, tmp_path / "two.pt", *arguments, *strategy, *budget, processes=2)
        assert_equal_runs(one, two)


def test_a_process_without_anything_to_train_on_changes_nothing(rtt: Run, policy_args, tmp_path: Path) -> None:
    """Of three prompts the first alone is trained on: the other process takes its steps without a row."""
    kept = (
        "--model.init_args.algorithm=rtt_lightning.DynamicSampling",
        "--model.init_args.algorithm.init_args={keep: 1, algorithm: rtt_lightning.RTT}",
    )
    arguments = policy_args("fit", *POLICY, *kept)[1:]
    one = recorded(rtt, tmp_path / "one.pt", *arguments)
    assert one["updates"][0]["loss"]
    assert_equal_runs(one, recorded(rtt, tmp_path / "two.pt", *arguments, *FSDP, processes=2))
