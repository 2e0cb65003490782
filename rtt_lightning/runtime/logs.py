"""Writes metrics to Lightning's log."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor


class MetricLog:
    """Logs groups of metrics; a metric that is unknown now is absent.

    Lightning would repeat its last value: to the logger until the end of the epoch, to callbacks forever.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def __call__(
        self, module: LightningModule, prefix: str, metrics: Mapping[str, Tensor | float], **options: Any
    ) -> None:
        """Log ``<prefix>/<name>`` for each metric of a group.

        Args:
            module: With a trainer.
            prefix: Prefix of the group.
            metrics: Known metrics, by name.
            options: Of `LightningModule.log`.
        """
        known = {f"{prefix}/{name}": value for name, value in metrics.items()}
        before = {name for name in self._logged if name.startswith(f"{prefix}/")}
        self._logged |= known.keys()
        _take_back(module.trainer, before - known.keys())
        module.log_dict(known, **options)


def _take_back(trainer: Any, names: set[str]) -> None:
    """Forget the last values of metrics, by resetting Lightning's results: there is no other way."""
    for result in trainer._results.result_metrics:
        if result.meta.name in names:
            result.reset()
    for shown in (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics):
        for name in names:
            shown.pop(name, None)
