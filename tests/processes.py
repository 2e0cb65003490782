"""Processes of their own for `rtt` and functions, forked from one that has imported everything."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from rtt_lightning.cli import run
from rtt_lightning.runtime.processes import free_port
from tests.conftest import ROOT


def start(
    arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None, folder: Path = ROOT
) -> ForkServerProcess:
    """One process of `rtt` in a folder; what it prints goes to the end of ``log``, which is there from the start."""
    log.touch()
    process = _context().Process(target=_rtt, args=(list(arguments), log, environment or {}, folder))
    process.start()
    return process


def start_all(arguments: Sequence[str], log: Path, processes: int) -> list[ForkServerProcess]:
    """The processes of one run, as a launcher such as torchrun would start them."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "NODE_RANK": "0"}
    arguments = [*arguments, f"--trainer.devices={processes}"]
    return [start(arguments, log, common | {"LOCAL_RANK": str(rank)}) for rank in range(processes)]


def in_group(work: Callable[[int], Any], processes: int = 2) -> list[Any]:
    """What ``work(rank)``, a function of a module, returns on each process of a group that talks over gloo."""
    context, port = _context(), free_port()
    found: Queue[tuple[int, Any]] = context.Queue()
    started = [context.Process(target=_member, args=(work, rank, processes, port, found)) for rank in range(processes)]
    for process in started:
        process.start()
    results = dict(found.get(timeout=120) for _ in started)
    for process in started:
        process.join()
    return [results[rank] for rank in range(processes)]


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    return context


def _member(work: Callable[[int], Any], rank: int, processes: int, port: int, found: "Queue[tuple[int, Any]]") -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    found.put((rank, work(rank)))
    dist.destroy_process_group()


def _rtt(arguments: list[str], log: Path, environment: dict[str, str], folder: Path) -> None:
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = ["rtt", *arguments]
    run()
