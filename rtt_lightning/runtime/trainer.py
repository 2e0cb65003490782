"""Lightning's trainer, and the precision that the device is made for."""

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator


class RubricTrainer(Trainer):
    """Lightning's trainer, with one more word for ``precision``.

    Args:
        precision: As Lightning's; ``auto`` is bf16-mixed on a device that computes in bf16, else 32-true.
        kwargs: As Lightning's.
    """

    def __init__(self, *, precision: _PRECISION_INPUT | Literal["auto"] | None = None, **kwargs: Any) -> None:
        chosen = fitting_precision(kwargs.get("accelerator", "auto")) if precision == "auto" else precision
        super().__init__(precision=chosen, **kwargs)


def fitting_precision(accelerator: Any) -> Literal["bf16-mixed", "32-true"]:
    """Which of the two suits the device that Lightning's ``accelerator`` stands for on this machine."""
    on_cpu = accelerator == "cpu" or isinstance(accelerator, CPUAccelerator) or not torch.cuda.is_available()
    computes = computes_bf16() if on_cpu else torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if computes else "32-true"


def computes_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether Linux reports bf16 arithmetic of the CPU (AVX-512 BF16 or AMX)."""
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    return bool({"avx512_bf16", "amx_bf16"} & flags)
