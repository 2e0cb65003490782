"""Lightning's limits count micro-batches; training needs whole updates and whole windows of rollouts."""

from typing import Any

from rtt_lightning.datamodules.loaders import StatefulLoader
from rtt_lightning.types.batches import PromptBatch
from rtt_lightning.types.errors import UserError

UNITS = "accumulate_grad_batches micro-batches per update, times the updates of a window"


def count_whole(trainer: Any, loader: StatefulLoader) -> None:
    """Make epochs end, and validation begin, at whole updates and windows; a trial has as many updates as asked.

    Raises:
        UserError: For a limit that would break off an update, whose gradient would be incomplete, or a window, whose
            remaining responses would be sampled for nothing.
    """
    if trainer.fast_dev_run:
        trainer.limit_train_batches = int(trainer.fast_dev_run) * trainer.accumulate_grad_batches
        return
    name = "overfit_batches" if trainer.overfit_batches else "limit_train_batches"
    taken = limited(trainer.limit_train_batches, len(loader))
    if taken < len(loader):
        _refuse_part(f"trainer.{name} {trainer.limit_train_batches}", taken, loader.together)
    loader.stop_after(taken)
    if trainer.enable_validation and trainer.accumulate_grad_batches > 1:
        _check_validation(trainer, taken)


def next_window(trainer: Any, window: int, updates: int) -> PromptBatch | None:
    """The first batch of the window that follows another; ``None`` if the trainer's limits end the run before it.

    Args:
        trainer: Before the first update of the window.
        window: Its number.
        updates: That it takes.
    """
    loader: StatefulLoader = trainer.train_dataloader
    following: Any = loader.after(window)
    epochs = following["window"] // loader.groups - window // loader.groups
    passed = (trainer.global_step + updates, trainer.max_steps), (trainer.current_epoch + epochs, trainer.max_epochs)
    return None if any(-1 < most <= count for count, most in passed) else following


def _check_validation(trainer: Any, batches: int) -> None:
    if trainer._val_check_time_interval is not None:
        raise UserError(
            "a time as trainer.val_check_interval may come in the middle of an update of "
            f"{trainer.accumulate_grad_batches} micro-batches; give their number between two validations"
        )
    interval = limited(trainer.val_check_interval, batches)
    if interval != batches:
        given = f"trainer.val_check_interval {trainer.val_check_interval}"
        _refuse_part(given, max(1, interval), trainer.accumulate_grad_batches)


def limited(limit: float, of: int) -> int:
    """A limit of Lightning's, which is a number where it is an integer and a share where it is not."""
    return limit if isinstance(limit, int) else int(of * limit)


def _refuse_part(given: str, number: int, together: int) -> None:
    if number % together:
        whole = number // together * together
        fitting = f"{whole} or {whole + together}" if whole else f"{together}"
        raise UserError(
            f"{given} makes {number} micro-batches, where {together} belong together ({UNITS}); give {fitting}"
        )
