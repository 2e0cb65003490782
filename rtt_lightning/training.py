"""What the policy and the discriminator share: optimiser, warm-up, and checkpoints of the trainable weights only."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer

from rtt_lightning.checkpoints import BASE_KEY, check_fits
from rtt_lightning.models import trainable_names

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Parameters to their optimiser. As in Lightning's command line, whose module needs jsonargparse."""


class TrainableModule(LightningModule):
    """A module whose checkpoints hold what it trains, in fp32, and nothing else.

    Args:
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
    """

    def __init__(self, optimizer: OptimizerCallable, warmup_steps: int) -> None:
        super().__init__()
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, got {warmup_steps}")
        self.make_optimizer = optimizer
        self.warmup_steps = warmup_steps
        self.base: dict[str, Any] = {}  # what it trains from, see `base_of`; known once that is loaded
        self.strict_loading = False  # a checkpoint lacks the frozen weights; on_load_checkpoint checks the others

    @property
    def base_dtype(self) -> torch.dtype:
        """Of weights that stay frozen: bf16 where the trainer computes in it, else fp32, as without a trainer."""
        low = self._trainer is not None and "bf16" in str(self._trainer.precision)
        return torch.bfloat16 if low else torch.float32

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(parameter for parameter in self.parameters() if parameter.requires_grad)
        if not self.warmup_steps:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        low = {str(p.dtype) for p in self.parameters() if p.requires_grad and p.dtype != torch.float32}
        if low:
            raise ValueError(
                f"trainable weights must be fp32, got {', '.join(sorted(low))}: a step of 1e-6 vanishes in bf16; "
                "use trainer.precision bf16-mixed or 32-true"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[BASE_KEY] = self.base
        names = trainable_names(self)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_fits(checkpoint["state_dict"], trainable_names(self))
