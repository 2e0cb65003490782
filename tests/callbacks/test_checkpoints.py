"""Checkpoints of one course of training per folder, after whole updates; a tiny module with a real trainer."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from rtt_lightning.callbacks.checkpoints import Checkpoints
from rtt_lightning.runtime.checkpoints import newest


class Slope(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = (self.weight - batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SignalAt(Callback):
    """Sends this process a signal as a batch begins."""

    def __init__(self, batch: int, number: int) -> None:
        self.batch, self.number = batch, number

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        if batch_idx == self.batch - 1:
            os.kill(os.getpid(), self.number)
            self.then = signal.getsignal(self.number)


class StopAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        self.batches -= 1
        trainer.should_stop = self.batches == 0


def train(folder: Path, updates: int, *callbacks: Callback, resume: str | None = None, **flags: object) -> None:
    trainer = Trainer(
        max_steps=updates,
        callbacks=[Checkpoints(str(folder), every=2), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **{"logger": False, **flags},  # pyright: ignore[reportArgumentType]
    )
    data = DataLoader(torch.ones(100, 1))  # pyright: ignore[reportArgumentType]
    trainer.fit(Slope(), data, ckpt_path=resume and str(folder / resume), weights_only=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_from_the_beginning_refuses_a_folder_with_checkpoints_of_another(tmp_path: Path) -> None:
    train(tmp_path, 6)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        ValueError, match=r"holds checkpoints of another run, up to step-00000006.ckpt; add --ckpt_path"
    ):
        train(tmp_path, 4)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_resumes_from_an_earlier_one_sets_later_ones_aside(tmp_path: Path) -> None:
    train(tmp_path, 6)
    later = (tmp_path / "step-00000006.ckpt").read_bytes()
    for _ in range(2):  # the second time there is one set aside already
        with pytest.warns(UserWarning, match=r"set .*step-00000006.ckpt aside as step-00000006.ckpt.abandoned"):
            train(tmp_path, 6, resume="step-00000004.ckpt")
        expected = ["latest", "step-00000004.ckpt", "step-00000006.ckpt", "step-00000006.ckpt.abandoned"]
        assert names(tmp_path) == expected
    assert (tmp_path / "step-00000006.ckpt.abandoned").stat().st_size == len(later)
    assert newest(tmp_path) == tmp_path / "step-00000006.ckpt"


def test_a_damaged_checkpoint_is_replaced_when_training_passes_it_again(tmp_path: Path) -> None:
    train(tmp_path, 6)
    (tmp_path / "step-00000006.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match="aside"):
        train(tmp_path, 6, resume="step-00000004.ckpt")
    assert torch.load(tmp_path / "step-00000006.ckpt", weights_only=True)["global_step"] == 6


def test_a_run_killed_before_it_pointed_to_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    train(tmp_path, 2)
    (tmp_path / "latest").unlink()
    with pytest.warns(UserWarning, match="aside"):
        train(tmp_path, 2)
    assert newest(tmp_path) == tmp_path / "step-00000002.ckpt"


@pytest.mark.parametrize("batches", [7, 8, 9])
def test_a_run_that_is_stopped_in_the_middle_of_an_update_finishes_it(tmp_path: Path, batches: int) -> None:
    """Of 3 micro-batches per update: neither the gradients of those already done are lost, nor the updates before."""
    train(tmp_path, 10, StopAfter(batches), accumulate_grad_batches=3)
    assert names(tmp_path) == ["latest", "step-00000002.ckpt", "step-00000003.ckpt"]


@pytest.mark.parametrize("trial", [True, 3])
def test_a_trial_leaves_the_folder_as_it_is(tmp_path: Path, trial: bool | int) -> None:
    train(tmp_path, 2, fast_dev_run=trial)
    assert names(tmp_path) == []
    train(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    train(tmp_path, 2, fast_dev_run=trial)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_last_update_before_a_signal_is_saved_and_logged(tmp_path: Path, number: int, code: int) -> None:
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    logger = CSVLogger(str(tmp_path), name="logs", version="", flush_logs_every_n_steps=1)
    sender = SignalAt(5, number)
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "ck", 10, sender, accumulate_grad_batches=2, logger=logger, log_every_n_steps=1)
    assert ended.value.code == code
    assert (sender.then == signal.SIG_DFL) == (number == signal.SIGINT)  # a second Ctrl-C does not wait
    assert names(tmp_path / "ck")[-1] == "step-00000003.ckpt"
    with (tmp_path / "logs/metrics.csv").open() as lines:
        assert [row["step"] for row in csv.DictReader(lines)] == ["0", "1", "2"]
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == handlers
