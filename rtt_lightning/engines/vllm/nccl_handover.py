"""Sends weights straight into the servers' GPUs, by vLLM's own weight transfer.

Not yet run on GPUs: it is tested against real servers with NCCL's communicator replaced by one for CPUs.
"""

import importlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch
from torch import Tensor

from rtt_lightning.engines.vllm.handover import Handover, Weights
from rtt_lightning.engines.vllm.http import post, world_size
from rtt_lightning.runtime.processes import free_port, gather, rank
from rtt_lightning.types import OutsideFailure

T = TypeVar("T")
Kind = tuple[str, torch.dtype, tuple[int, ...]]
"""Name, dtype and shape of a tensor."""


class NCCLHandover(Handover):
    """The first process broadcasts the weights to one server after the other, from GPU to GPU, one tensor at a time.

    Servers must also be started with ``--weight-transfer-config '{"backend": "nccl"}'``.

    Args:
        address: Of the first process, as servers reach it; null for this machine's own name.
        packed: Send tensors in blocks.
    """

    server_arguments = ("--weight-transfer-config", '{"backend": "nccl"}')

    def __init__(self, address: str | None = None, packed: bool = True) -> None:
        self.address, self.packed = address, packed
        self._kinds: list[Kind] = []
        self._connections: dict[str, tuple[Any, _Client]] = {}

    def send(self, weights: Weights, urls: Sequence[str], version: str, deadline: float) -> dict[str, str]:
        self._kinds = self._kinds or [(name, weight.dtype, tuple(weight.shape)) for name, weight in weights()]
        source, failures = _Source(weights, self._kinds), {}
        for url in urls:
            reason = gather(self._connect(url, source, deadline) if rank() == 0 else "")[0]
            if reason:  # gather nothing for a server that is not there
                failures[url] = reason
                continue
            source.begin()
            failed = self._broadcast(url, source, version, deadline) if rank() == 0 else {}
            source.finish()
            failures |= gather(failed)[0]
        return failures

    def _connect(self, url: str, source: "_Source", deadline: float) -> str:
        """Join a group with the server, once; returns why not."""
        try:
            size = 1 + world_size(url)
            if url not in self._connections:
                self._connections[url] = _run_in_thread(deadline, lambda: self._join(url, size, source, deadline))
        except Exception as error:  # any error, since the other processes must hear of it
            return _reason(error)
        return ""

    def _join(self, url: str, size: int, source: "_Source", deadline: float) -> "tuple[Any, _Client]":
        transfer: Any = importlib.import_module("vllm.distributed.weight_transfer.nccl_engine")
        address = self.address or socket.gethostname()
        information = transfer.NCCLTrainerInitInfo(address, free_port(), size, packed=self.packed, rank=0)
        client = _Client(url, deadline)
        return transfer.NCCLTrainerWeightTransferEngine.trainer_init(information, client=client, source=source), client

    def _broadcast(self, url: str, source: "_Source", version: str, deadline: float) -> dict[str, str]:
        engine, client = self._connections[url]
        engine.source, client.version = source, version
        try:
            _run_in_thread(deadline, engine.send_weights)
        except TimeoutError as error:  # the GPU itself waits for the server: cannot continue
            raise OutsideFailure(
                f"the vLLM server at {url} did not take the weights within {deadline:g} seconds"
            ) from error
        except Exception as error:
            del self._connections[url]  # useless now
            return {url: _reason(error)}
        return {}


def _run_in_thread(deadline: float, work: Callable[[], T]) -> T:
    """Return or raise what ``work`` does in a thread, abandoned after ``deadline`` seconds: NCCL cannot be cancelled.

    Raises:
        TimeoutError: If it is not done by then.
    """
    outcome: Future[T] = Future()
    device = torch.accelerator.current_device_index() if torch.accelerator.is_available() else None

    def run() -> None:
        try:
            if device is not None:
                torch.accelerator.set_device_index(device)  # each thread has its own
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(deadline)
    if not outcome.done():
        raise TimeoutError(f"not done within {deadline:g} seconds")
    return outcome.result()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Source:
    """The weights as vLLM wants them: first their metadata, then the tensors."""

    def __init__(self, weights: Weights, kinds: Sequence[Kind]) -> None:
        self._weights, self._kinds = weights, kinds

    def metadata(self) -> list[Any]:
        """Metadata of all tensors in order; only the first process asks for it, so nothing is gathered."""
        described: Any = importlib.import_module("vllm.distributed.weight_transfer.base").ParamMeta
        return [described(*kind) for kind in self._kinds]

    def begin(self) -> None:
        """Start a pass over the weights, in which all processes gather each tensor together."""
        self._pass = self._weights()

    def finish(self) -> None:
        """Take part in the rest of the pass: all of it, or what a failed transfer left."""
        with torch.no_grad():
            for _ in self._pass:
                pass

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        with torch.no_grad():
            for name, weight in self._pass:
                yield name, weight.contiguous()


class _Client:
    """The control routes of a server; named by the protocol ``VLLMWeightSyncClient``."""

    def __init__(self, url: str, deadline: float) -> None:
        self.url, self.deadline, self.version = url, deadline, ""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        post(self.url, "init_weight_transfer_engine", {"init_info": init_info}, self.deadline)

    def start_weight_update(self) -> None:
        post(self.url, "start_weight_update", {}, self.deadline)

    def update_weights(self, update_info: Any) -> None:
        post(self.url, "update_weights", {"update_info": update_info}, self.deadline)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        post(self.url, "finish_weight_update", {"weight_version": self.version}, self.deadline)
        post(self.url, "reset_prefix_cache", {}, self.deadline)
