"""Runs of `rtt` on one or two processes, as a user starts them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FSDP = ("--config", str(ROOT / "configs/strategies/fsdp.yaml"))
DDP = ("--config", str(ROOT / "configs/strategies/ddp.yaml"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def rtt() -> Run:
    """``rtt("fit", "--flag", ..., processes=2)`` in processes of its own; one thread each."""

    def run(*arguments: str, processes: int = 1, expect: int = 0) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "rtt_lightning", *arguments, "--trainer.devices", str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    return run
