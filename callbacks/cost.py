"""What the judges of a run will be asked, said before they are."""

from collections.abc import Iterable
from math import ceil
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning.datamodules import PromptWindows, RubricDataModule
from rtt_lightning.datamodules.limits import limited
from rtt_lightning.datamodules.sources import Split
from rtt_lightning.engines.base import Sampling
from rtt_lightning.runtime.processes import rank
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.forecast import BYTES_PER_TOKEN, Expected, Forecast


def say_cost(verifier: Verifier, expected: list[Expected]) -> None:
    """A line for each judge that will be asked; a warning where its budget may not do."""
    say_forecasts(verifier.foresee(expected) if rank() == 0 else ())


def say_forecasts(forecasts: Iterable[Forecast]) -> None:
    """A line for each; a warning where a budget may not do."""
    for forecast in forecasts:
        if forecast.over:
            rank_zero_warn(str(forecast))
        else:
            print(forecast, flush=True)


def judged_in_run(
    trainer: Any, data: RubricDataModule, sampling: Sampling, evaluation: Sampling, stage: str
) -> list[Expected]:
    """The responses that a run has judged, on all processes; of one epoch where no limit ends it.

    Args:
        trainer: With the limits of the run.
        data: With its records loaded.
        sampling: Of responses to train on.
        evaluation: Of all others.
        stage: ``fit``, ``validate``, ``test`` or ``predict``.
    """
    if not isinstance(data.view, PromptWindows):  # pairs, for a discriminator
        return []
    if stage == TrainerFn.PREDICTING:
        return _evaluated(trainer, data, "train", trainer.limit_predict_batches, evaluation)
    if stage == TrainerFn.TESTING:
        return _evaluated(trainer, data, "test", trainer.limit_test_batches, evaluation)
    if stage == TrainerFn.VALIDATING:
        return _evaluated(trainer, data, "val", trainer.limit_val_batches, evaluation)
    windows, validations = planned(trainer, data.view, len(data.records["train"]))
    trained = _spread(data, "train", windows * data.view.prompts, sampling)
    return trained + _evaluated(trainer, data, "val", trainer.limit_val_batches, evaluation, validations)


def judged_by_watch(
    trainer: Any, data: RubricDataModule, sampling: Sampling, every: int, responses: int
) -> list[Expected]:
    """The responses of a run that a held-out judge sees too: so many per process of every so many-th window."""
    if not isinstance(data.view, PromptWindows):
        return []
    windows, _ = planned(trainer, data.view, len(data.records["train"]))
    seen = min(responses * trainer.world_size / sampling.n, data.view.prompts)
    return _spread(data, "train", ceil(windows / every) * seen, sampling)


def planned(trainer: Any, view: PromptWindows, prompts: int) -> tuple[int, int]:
    """Windows of a training run on so many prompts, and validations in it: one where they come by the clock."""
    accumulate = trainer.accumulate_grad_batches
    together = accumulate * view.updates
    epoch = prompts // view.prompts * together  # in micro-batches
    trial = int(trainer.fast_dev_run) * accumulate  # which is counted in updates
    epoch = min(epoch, trial or limited(trainer.limit_train_batches, epoch))
    if not epoch:
        return 0, 0
    steps = [trainer.max_steps * accumulate] if trainer.max_steps >= 0 else []
    epochs = [] if trainer.max_epochs is None or trainer.max_epochs < 0 else [trainer.max_epochs * epoch]
    total = min([*steps, *epochs], default=epoch)
    return ceil(total / together), _validations(trainer, total, epoch)


def _validations(trainer: Any, total: int, epoch: int) -> int:
    """Of so many micro-batches."""
    if trainer._val_check_time_interval is not None:
        return 1
    every, interval = trainer.check_val_every_n_epoch, max(1, limited(trainer.val_check_interval, epoch))
    if every is None:
        return total // interval
    whole, rest = divmod(total, epoch)
    return whole // every * (epoch // interval) + ((whole + 1) % every == 0) * (rest // interval)


def _evaluated(
    trainer: Any, data: Any, split: Split, limit: float, sampling: Sampling, times: int = 1
) -> list[Expected]:
    """Of so many evaluations, each of ``limit`` batches, or of a share of all."""
    prompts, together = len(data.records[split]), data.view.eval_prompts * trainer.world_size
    batches = ceil(prompts / together)
    return _spread(data, split, min(prompts, limited(limit, batches) * together) * times, sampling)


def _spread(data: RubricDataModule, split: Split, prompts: float, sampling: Sampling) -> list[Expected]:
    """Responses of the greatest length to so many prompts of a split, each of which comes equally often."""
    records, length = data.records[split], int(sampling.max_new_tokens * BYTES_PER_TOKEN)
    each = prompts * sampling.n / max(len(records), 1)
    return [Expected(record.sample, each, length) for record in records] if each else []
