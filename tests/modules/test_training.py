"""Updates that are not finite: they end the run, or change nothing and are counted; and none is ever saved."""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rtt_lightning.callbacks.checkpoints import Checkpoints
from rtt_lightning.modules.training import TrainableModule
from rtt_lightning.runtime.checkpoints import CheckpointFiles, checkpoints, read_checkpoint
from tests.distributed.recorder import BadGradients

ADAM = partial(torch.optim.AdamW, lr=0.1)


class Slope(TrainableModule):
    """Fits one weight to the mean of what it is shown."""

    def __init__(self, skip_nonfinite: int = 0, optimizer: Any = ADAM) -> None:
        super().__init__(optimizer, warmup_steps=8, skip_nonfinite=skip_nonfinite)
        self.weight = torch.nn.Parameter(torch.ones(3))

    def defined_by(self) -> tuple[str, dict[str, Any]]:
        return "slope", {}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return (self.weight * batch["x"].sum()).square().mean()


def rows(count: int, **bad: dict[int, Any]) -> list[dict[str, Any]]:
    """Micro-batches with a prompt each; ``bad`` replaces a field of those with the given numbers."""
    plain = [{"x": torch.ones(2) + n / 9, "prompt_id": [f"p{n}"], "window": n // 2} for n in range(count)]
    for field, changes in bad.items():
        for number, value in changes.items():
            plain[number][field] = value
    return plain


def train(
    module: Slope, data: list[dict[str, Any]], *callbacks: Callback, resume: Path | None = None, **flags
) -> Trainer:
    trainer = Trainer(
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(callback, Checkpoints) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        plugins=[CheckpointFiles()],
        **{"accumulate_grad_batches": 2, "gradient_clip_val": 1.0, **flags},
    )
    trainer.fit(module, DataLoader(data, batch_size=None), ckpt_path=resume and str(resume), weights_only=True)  # pyright: ignore
    return trainer


class States(Callback):
    """Weights, optimiser and scheduler after each update, and what was logged of it."""

    def __init__(self) -> None:
        self.states: list[Any] = []
        self.logged: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: object) -> None:
        if trainer.global_step == len(self.states):
            return
        parts = (pl_module.state_dict(), trainer.optimizers[0].state_dict(), pl_module.lr_schedulers().state_dict())
        self.states.append(deepcopy(parts))
        self.logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})


NAN, INFINITY = torch.tensor([torch.nan, 1.0]), torch.tensor([torch.inf, 1.0])


@pytest.mark.parametrize("value", [NAN, INFINITY, torch.tensor([1e30, 1.0])], ids=["nan", "inf", "overflow"])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_its_prompts_alone(tmp_path: Path, value: Tensor) -> None:
    module, saves = Slope(), Checkpoints(str(tmp_path), every=1, keep=1)
    with pytest.raises(
        FloatingPointError, match=r"update 3 \(window 2\) is not finite: loss \((nan|inf)\), of prompts p5\. "
    ):
        train(module, rows(10, x={5: value}), saves)
    assert module.weight.isfinite().all()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002.ckpt"]


def test_a_gradient_that_is_not_finite_names_all_prompts_of_the_update() -> None:
    with pytest.raises(FloatingPointError, match=r"update 2 .*gradient norm \(inf\), of prompts p2, p3\. "):
        train(Slope(), rows(10), BadGradients([2]))


def test_a_gradient_whose_norm_overflows_is_no_step() -> None:
    """Clipped by its infinite norm it would be a gradient of 0, and the weight decay alone would go on."""
    with pytest.raises(FloatingPointError, match=r"update 1 .*gradient norm \(inf\)"):
        train(Slope(), rows(2, x={0: torch.tensor([1e19, 0.0]), 1: torch.tensor([1e19, 0.0])}))


@pytest.mark.parametrize("bad", [{"x": {5: NAN}}, {"nonfinite": {4: ["relevance"]}}], ids=["loss", "marked"])
@pytest.mark.parametrize("flags", [{}, {"gradient_clip_algorithm": "value"}, {"gradient_clip_val": None}])
def test_a_skipped_update_changes_nothing_and_is_counted(bad: dict[str, Any], flags: dict[str, Any]) -> None:
    seen, without = States(), States()
    with pytest.warns(UserWarning, match=r"update 3 .* of prompts p[45]; skipped"):
        train(Slope(skip_nonfinite=1), rows(10, **bad), seen, **flags)
    data = rows(10)
    train(Slope(), data[:4] + data[6:], without, **flags)
    one, two, three, four, five = map(str, seen.states)
    assert [one, two, four, five] == list(map(str, without.states))  # as if it had not been there
    assert two == three
    assert [metrics["train/skipped_updates"] for metrics in seen.logged] == [0, 0, 1, 1, 1]


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_so_many_in_a_row_are_skipped_and_no_more() -> None:
    assert train(Slope(2), rows(14), BadGradients([1, 2, 4, 5, 7])).callback_metrics["train/skipped_updates"] == 5
    with pytest.raises(FloatingPointError, match=r"update 6 .*\(now 2\)"):
        train(Slope(2), rows(14), BadGradients([1, 2, 4, 5, 6]))


@pytest.mark.filterwarnings("ignore:.*skipped", "ignore:.*not resumable")
def test_a_run_resumed_after_a_skipped_update_equals_the_unbroken_one(tmp_path: Path) -> None:
    bad, data = BadGradients([2, 3, 5]), rows(12)
    whole = train(Slope(2), data, bad, Checkpoints(str(tmp_path), every=1, keep=0))
    for step in (2, 3):
        rest = data[2 * step :] + data[: 2 * step]  # Lightning counts the batches before the break as read
        resumed = train(Slope(2), rest, bad, resume=tmp_path / f"step-0000000{step}.ckpt")
        assert resumed.global_step == whole.global_step == 6
        assert torch.equal(resumed.lightning_module.weight, whole.lightning_module.weight)
        assert resumed.callback_metrics["train/skipped_updates"] == 3
    with pytest.raises(FloatingPointError, match="update 3 "):  # the one before was skipped, before the break
        train(Slope(1), data, bad, resume=tmp_path / "step-00000002.ckpt")


def test_weights_that_are_not_finite_end_the_run_whatever_may_be_skipped(tmp_path: Path) -> None:
    module = Slope(9, optimizer=partial(torch.optim.SGD, lr=3e38))
    with pytest.raises(FloatingPointError, match=r"after update 1 weights are not finite: weight"):
        train(
            module, rows(6, x={0: torch.full((2,), 9.0)}), Checkpoints(str(tmp_path), every=1), gradient_clip_val=None
        )
    assert not checkpoints(tmp_path)


class Breaks(Callback):
    """A weight, or a state of the optimiser, becomes NaN behind the back of the update."""

    def __init__(self, after: int, state: bool) -> None:
        self.after, self.state = after, state

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: object) -> None:
        if trainer.global_step == self.after:
            states = trainer.optimizers[0].state[pl_module.weight]
            (states["exp_avg_sq"] if self.state else pl_module.weight.data)[1] = torch.nan


@pytest.mark.parametrize(
    ("state", "named"), [(False, "state_dict/weight"), (True, "optimizer_states/0/state/0/exp_avg_sq")]
)
def test_what_is_not_finite_is_not_saved_and_no_good_checkpoint_makes_way(
    tmp_path: Path, state: bool, named: str
) -> None:
    with pytest.raises(FloatingPointError, match=f"not saved: values are not finite: {named}"):
        train(Slope(9), rows(10), Breaks(3, state), Checkpoints(str(tmp_path), every=1, keep=1))
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002.ckpt"]
    assert read_checkpoint(tmp_path / "step-00000002.ckpt")["global_step"] == 2


def test_a_negative_number_of_skips_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps and skip_nonfinite must be at least 0, got 8 and -1"):
        Slope(-1)
