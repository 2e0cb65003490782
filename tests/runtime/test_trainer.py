"""The precision that a run takes by itself."""

from pathlib import Path

import pytest
import torch

from rtt_lightning.runtime import trainer
from rtt_lightning.runtime.trainer import RubricTrainer, computes_bf16, fitting_precision


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [("flags : fpu avx512_bf16", True), ("flags : fpu amx_bf16 amx_tile", True), ("flags : fpu avx512f", False)],
)
def test_bf16_arithmetic_is_read_off_the_cpu(tmp_path: Path, cpu: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name : x\n{cpu}\n")
    assert computes_bf16(tmp_path / "cpuinfo") == expected
    assert not computes_bf16(tmp_path / "none")


@pytest.mark.parametrize(("computes", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_what_the_device_computes(computes: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "computes_bf16", lambda: computes)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not computes)
    assert RubricTrainer(precision="auto", accelerator="cpu", logger=False).precision == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert fitting_precision("auto") != expected  # of the GPU
    assert fitting_precision("cpu") == expected


def test_any_other_precision_is_lightnings() -> None:
    assert RubricTrainer(accelerator="cpu", logger=False).precision == "32-true"
    assert RubricTrainer(precision="bf16-mixed", accelerator="cpu", logger=False).precision == "bf16-mixed"
