"""Runs of `rtt` in processes of their own, forked from one that has imported everything: they start in a second."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from rtt_lightning.cli import run
from rtt_lightning.runtime.processes import free_port


def start(arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> ForkServerProcess:
    """One process of `rtt`; what it prints goes to the end of ``log``, which is there from the start."""
    log.touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.processes", "tests.distributed.recorder"])
    process = context.Process(target=_rtt, args=(list(arguments), log, environment or {}))
    process.start()
    return process


def start_all(arguments: Sequence[str], log: Path, processes: int) -> list[ForkServerProcess]:
    """The processes of one run, as a launcher such as torchrun would start them."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "NODE_RANK": "0"}
    arguments = [*arguments, f"--trainer.devices={processes}"]
    return [start(arguments, log, common | {"LOCAL_RANK": str(rank)}) for rank in range(processes)]


def _rtt(arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = ["rtt", *arguments]
    run()
