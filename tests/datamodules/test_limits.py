"""What a trainer takes of the data is whole updates and windows; a small module with a real trainer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from rtt_lightning.datamodules.limits import count_whole, next_window
from rtt_lightning.datamodules.loaders import StatefulLoader
from rtt_lightning.datamodules.views import LabelledPairs, PromptWindows
from tests.datamodules.test_loaders import RECORDS, labelled

MICRO_BATCHES, TOGETHER = 12, 4  # an epoch of 3 windows of 2 updates of 2 micro-batches


class Count(LightningModule):
    """Counts its batches, and asks at the start of each window for the next; validates by a number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[int] = []
        self.foreseen: list[int | None] = []
        self.validated_after: list[int] = []

    def on_train_batch_start(self, batch: dict[str, int], batch_idx: int) -> None:
        if batch["number"] % TOGETHER == 0:
            following: Any = next_window(self.trainer, batch["window"], updates=2)
            self.foreseen.append(following and following["number"])

    def training_step(self, batch: dict[str, int], batch_idx: int) -> torch.Tensor:
        self.seen.append(batch["number"])
        return self.weight.sum()

    def validation_step(self, batch: dict[str, int], batch_idx: int) -> None:
        self.validated_after.append(len(self.seen))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Numbers(LightningDataModule):
    def train_dataloader(self) -> StatefulLoader:
        def batches(epoch: int) -> list[Any]:
            numbers = range(epoch * MICRO_BATCHES, (epoch + 1) * MICRO_BATCHES)
            return [{"number": number, "window": number // TOGETHER} for number in numbers]

        loader = StatefulLoader(batches, together=TOGETHER)
        assert self.trainer is not None
        count_whole(self.trainer, loader)
        return loader

    def val_dataloader(self) -> StatefulLoader:
        return StatefulLoader(lambda epoch: [{"number": 0}])


def fit(resume: str | None = None, **flags: Any) -> tuple[Trainer, Count]:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"accumulate_grad_batches": 2, "max_steps": 4, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = Trainer(**{**quiet, **settings, "num_sanity_val_steps": 0, **flags})
    module = Count()
    trainer.fit(module, datamodule=Numbers(), ckpt_path=resume, weights_only=True)
    return trainer, module


REFUSED = {
    "a part of an update": ({"limit_train_batches": 1}, r"limit_train_batches 1 .*belong together .*give 4$"),
    "a part of a window": ({"limit_train_batches": 6}, "give 4 or 8"),
    "a share that is none": ({"limit_train_batches": 0.2}, "limit_train_batches 0.2 makes 2 micro-batches"),
    "a part to overfit": ({"overfit_batches": 3}, "overfit_batches 3 makes 3 micro-batches"),
    "validation within an update": ({"val_check_interval": 3}, "val_check_interval 3 .*give 2 or 4"),
    "validation after a share": ({"val_check_interval": 0.25}, "val_check_interval 0.25 makes 3"),
    "validation by total": ({"val_check_interval": 5, "check_val_every_n_epoch": None}, "give 4 or 6"),
    "validation by the clock": ({"val_check_interval": "00:00:01:00"}, "may come in the middle of an update of 2"),
}


@pytest.mark.parametrize(("flags", "message"), REFUSED.values(), ids=REFUSED)
def test_a_limit_that_breaks_off_an_update_or_a_window_is_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(**flags)


WHOLE = {
    "a window": {"limit_train_batches": 4},
    "a share": {"limit_train_batches": 2 / 3},
    "all": {"limit_train_batches": 1.0, "val_check_interval": 1.0},
    "more than there are": {"limit_train_batches": 50},
    "validation after an update": {"val_check_interval": 2},
    "validation by the clock without accumulation": {
        "accumulate_grad_batches": 1,
        "val_check_interval": "00:00:01:00",
    },
    "no validation": {"limit_val_batches": 0, "val_check_interval": 5},
}


@pytest.mark.parametrize("flags", WHOLE.values(), ids=WHOLE)
def test_whole_updates_are_taken(flags: dict[str, Any]) -> None:
    trainer, module = fit(**flags)
    assert trainer.global_step == 4
    assert len(module.seen) == 4 * trainer.accumulate_grad_batches
    assert all(batches % trainer.accumulate_grad_batches == 0 for batches in module.validated_after)


@pytest.mark.parametrize(("trial", "updates"), [(True, 1), (1, 1), (3, 3)])
def test_a_trial_has_whole_updates(trial: bool | int, updates: int) -> None:
    trainer, module = fit(fast_dev_run=trial)
    assert trainer.global_step == updates
    assert module.seen == list(range(2 * updates))


def test_a_run_that_resumes_where_its_limit_ends_the_epoch_begins_the_next(tmp_path) -> None:
    limit = {"limit_train_batches": 4}
    whole = fit(max_steps=6, **limit)[1].seen
    assert whole == [0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27]
    for updates in (1, 2, 3):
        trainer, first = fit(max_steps=updates, **limit)
        trainer.save_checkpoint(tmp_path / "part.ckpt")
        second = fit(str(tmp_path / "part.ckpt"), max_steps=6, **limit)[1]
        assert first.seen + second.seen == whole


ENDS = {
    "steps": {"max_steps": 8},
    "steps within a window": {"max_steps": 3},
    "epochs": {"max_steps": -1, "max_epochs": 2},
    "short epochs": {"max_steps": -1, "max_epochs": 2, "limit_train_batches": 8},
    "what comes first": {"max_steps": 10, "max_epochs": 1},
    "a trial": {"fast_dev_run": 3},
}


@pytest.mark.parametrize("flags", ENDS.values(), ids=ENDS)
def test_the_next_window_is_known_and_none_after_the_last(flags: dict[str, Any]) -> None:
    module = fit(**flags)[1]
    assert module.foreseen == [*[number for number in module.seen if number % TOGETHER == 0][1:], None]
    assert len(module.foreseen) > 1


def test_a_resumed_run_knows_its_next_windows(tmp_path) -> None:
    trainer, _ = fit(max_steps=2, limit_train_batches=8)
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    assert fit(str(tmp_path / "part.ckpt"), max_steps=6, limit_train_batches=8)[1].foreseen == [12, None]


VIEWS: dict[str, Callable[[bool], StatefulLoader]] = {
    "prompts": lambda reshuffle: PromptWindows(prompts=3).train_loader(RECORDS, 1, seed=0, reshuffle=reshuffle),
    "pairs": lambda reshuffle: LabelledPairs(2).train_loader(labelled(), 1, seed=0, reshuffle=reshuffle),
}


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_data_to_overfit_is_the_same_in_each_epoch(make: Callable[[bool], StatefulLoader]) -> None:
    def epochs(reshuffle: bool) -> list[list[dict[str, Any]]]:
        loader = make(reshuffle)
        return [[{k: v for k, v in batch.items() if k != "window"} for batch in loader] for _ in range(2)]

    first, second = epochs(reshuffle=False)
    assert first == second
    assert first == epochs(reshuffle=True)[0] != epochs(reshuffle=True)[1]
