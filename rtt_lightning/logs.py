"""Figures to Lightning's log."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class FigureLog:
    """Logs groups of figures; one that was logged before and is not known now is logged as NaN.

    Lightning would repeat its last value instead: to the logger until the end of the epoch, to callbacks for ever.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def __call__(self, module: LightningModule, prefix: str, figures: Mapping[str, Tensor], **options: Any) -> None:
        """Log ``<prefix>/<name>`` for each figure of a group.

        Args:
            module: With a trainer.
            prefix: Of the group.
            figures: What is known, by name.
            options: Of `LightningModule.log`.
        """
        known = {f"{prefix}/{name}": value for name, value in figures.items()}
        before = {name for name in self._logged if name.startswith(f"{prefix}/")}
        unknown = dict.fromkeys(sorted(before - known.keys()), torch.tensor(torch.nan, device=module.device))
        self._logged |= known.keys()
        module.log_dict(known | unknown, **options)
