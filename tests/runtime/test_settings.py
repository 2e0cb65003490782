"""At resume the settings of the run win over those of the checkpoint, and are named."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from rtt_lightning.runtime.settings import keep_settings, read_settings


class Step(LightningModule):
    """Records the learning rate of each update; ``schedule`` makes one of an optimiser, or none."""

    def __init__(self, schedule: Callable[[Optimizer], Any], **settings: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.schedule, self.settings = schedule, settings
        self.rates: list[float] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log("loss", 1.0)
        return self.weight.sum()

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), **self.settings)
        schedule = self.schedule(optimizer)
        if schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "monitor": "loss", "strict": False},
        }

    def on_fit_start(self) -> None:
        self.asked = read_settings(self.trainer)

    def on_train_start(self) -> None:
        keep_settings(self.asked, self.trainer)


def fit(module: Step, updates: int, resume: Path | None = None) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = Trainer(max_steps=updates, accelerator="cpu", **quiet)
    data = DataLoader(torch.ones(100, 1))  # pyright: ignore[reportArgumentType]
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return trainer


def warm_up(optimizer: Optimizer) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))


def cosine(steps: int) -> Callable[[Optimizer], CosineAnnealingLR]:
    return lambda optimizer: CosineAnnealingLR(optimizer, steps)


def constant(optimizer: Optimizer) -> None:
    return None


CHANGES = {
    "the rate": (constant, constant, {"lr": 0.5}, "lr 0.5 (was 1.0)", [0.5, 0.5]),
    "the rate of a warm-up": (warm_up, warm_up, {"lr": 2.0}, "lr 2.0 (was 1.0)", [1.5, 2.0]),
    "momentum": (constant, constant, {"lr": 1.0, "momentum": 0.5}, "momentum 0.5 (was 0)", [1.0, 1.0]),
    "the length of a schedule": (cosine(4), cosine(400), {"lr": 1.0}, "T_max 400 (was 4)", None),
    "a warm-up taken away": (warm_up, constant, {"lr": 3.0}, "lr 3.0 (was 0.75)", [3.0, 3.0]),
}


@pytest.mark.parametrize(("then", "now", "settings", "named", "rates"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_named_and_is_of_this_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, then: Any, now: Any, settings: Any, named: str, rates: Any
) -> None:
    fit(Step(then, lr=1.0), 2).save_checkpoint(tmp_path / "two.ckpt")
    module = Step(now, **settings)
    with caplog.at_level(logging.INFO):
        fit(module, 4, tmp_path / "two.ckpt")
    assert f"settings of this run, not the checkpoint's: {named}" in caplog.text
    assert rates is None or module.rates == pytest.approx(rates)


@pytest.mark.parametrize("schedule", [constant, warm_up, cosine(5), lambda o: ReduceLROnPlateau(o, patience=0)])
def test_the_same_settings_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, schedule: Callable[[Optimizer], Any]
) -> None:
    whole = Step(schedule, lr=1.0)
    fit(whole, 4)
    fit(Step(schedule, lr=1.0), 2).save_checkpoint(tmp_path / "two.ckpt")
    rest = Step(schedule, lr=1.0)
    with caplog.at_level(logging.INFO):
        fit(rest, 4, tmp_path / "two.ckpt")
    assert rest.rates == whole.rates[2:]
    assert "settings of this run" not in caplog.text
