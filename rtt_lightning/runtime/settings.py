"""Settings of optimisers and schedules on resuming: this run's win over the checkpoint's."""

from inspect import signature
from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info


class Settings(NamedTuple):
    """Settings that optimisers and schedules were made with.

    Attributes:
        groups: By parameter group of each optimiser.
        schedules: Arguments of each schedule, by name.
    """

    groups: list[dict[str, Any]]
    schedules: list[dict[str, Any]]


def read_settings(trainer: Trainer) -> Settings:
    """The settings before a checkpoint is restored."""
    scheduled = {id(config.scheduler.optimizer) for config in trainer.lr_scheduler_configs}
    groups = [
        {name: value for name, value in group.items() if name not in ("params", *_moving(id(optimizer) in scheduled))}
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
    ]
    return Settings(groups, [_arguments(config.scheduler) for config in trainer.lr_scheduler_configs])


def keep_settings(asked: Settings, trainer: Trainer) -> None:
    """Replace the settings that a checkpoint restored by those of this run, and name the differences.

    A learning rate that a schedule has changed keeps its ratio to the initial one. A schedule that does not store the
    initial one, such as `ReduceLROnPlateau`, continues from the checkpoint's.
    """
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    changed: dict[str, str] = {}
    for group, wanted in zip(groups, asked.groups, strict=True):
        before = group.get("initial_lr")
        if before and before != wanted.get("initial_lr", before):
            group["lr"] *= wanted["initial_lr"] / before
        changed |= _update(group, wanted)
    for config, wanted in zip(trainer.lr_scheduler_configs, asked.schedules, strict=True):
        changed |= _update(vars(config.scheduler), wanted)
        if "base_lrs" in vars(config.scheduler):
            config.scheduler.base_lrs = [group["initial_lr"] for group in config.scheduler.optimizer.param_groups]
    if changed:
        rank_zero_info(f"settings of this run, not the checkpoint's: {', '.join(changed.values())}")


def _moving(is_scheduled: bool) -> tuple[str, ...]:
    return ("lr",) if is_scheduled else ()


def _arguments(schedule: Any) -> dict[str, Any]:
    names = signature(type(schedule)).parameters.keys() - {"optimizer", "last_epoch"}
    return {name: value for name, value in vars(schedule).items() if name in names}


def _update(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Set what differs; returns the changes in words, by name."""
    changed = {}
    for name, value in wanted.items():
        if name in current and current[name] != value:
            changed[name] = f"{name.removeprefix('initial_')} {value} (was {current[name]})"
        current[name] = value
    return changed
