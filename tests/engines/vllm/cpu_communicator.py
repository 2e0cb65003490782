"""A vLLM plugin for tests: NCCL's communicator, which needs GPUs, replaced by tensors through a TCP store."""

import importlib
from collections.abc import Callable
from typing import Any

import torch

ENTRY_POINT = "[vllm.general_plugins]\ncpu_communicator = tests.engines.vllm.cpu_communicator:register\n"


class Communicator:
    """What vLLM's weight transfer asks of one."""

    def __init__(self, address: str, port: int, rank: int, size: int, device: Any) -> None:
        assert size == 2, "one receiver, who takes each tensor out of the store"
        groups: Any = importlib.import_module("vllm.distributed.utils")
        self._store = groups.StatelessProcessGroup.create(address, port, rank, size).store
        self._rank, self._count = rank, 0

    def broadcast(self, tensor: torch.Tensor, src: int, stream: Any = None) -> None:
        key = f"tensor {self._count}"
        self._count += 1
        if self._rank == src:
            self._store.set(key, tensor.contiguous().view(torch.uint8).numpy().tobytes())
        else:
            data = torch.frombuffer(bytearray(self._store.get(key)), dtype=torch.uint8)
            self._store.delete_key(key)
            tensor.copy_(data.view(tensor.dtype).view(tensor.shape))

    def destroy(self) -> None:
        pass


def register(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """vLLM calls this in each of its processes; a test gives ``monkeypatch.setattr``, which undoes it at its end."""
    common: Any = importlib.import_module("vllm.distributed.weight_transfer.nccl_common")
    replace(common, "stateless_init_process_group", Communicator)
    replace(torch.accelerator, "current_device_index", lambda: 0)
    replace(torch.cuda, "current_stream", lambda *_: None)
