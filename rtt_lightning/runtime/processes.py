"""Exchange between the processes of a run; on a single process everything is the identity."""

import socket
from collections.abc import Mapping
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _several() else 0


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def gather(item: Item) -> list[Item]:
    """The items of all processes in order of rank, on every process. A collective: all must call it."""
    if not _several():
        return [item]
    items: list[Item | None] = [None] * dist.get_world_size()
    dist.all_gather_object(items, item)
    return items  # pyright: ignore[reportReturnType]


def sum_over_ranks(values: Tensor) -> Tensor:
    """Elementwise sum over processes, on the device of ``values``. A collective: all must call it."""
    if _several():
        on_device = values.cuda() if dist.get_backend() == "nccl" else values.cpu()
        dist.all_reduce(on_device)
        return on_device.to(values.device)
    return values


def mean_over_ranks(metrics: Mapping[str, Tensor | float], weight: float) -> dict[str, float]:
    """Means of per-process scalars, weighted by ``weight``, each over the processes that measured it. A collective.

    A metric that no process measured is absent; processes with a weight of 0 do not count.
    """
    parts = gather(({name: float(value) for name, value in metrics.items()}, float(weight)))
    parts = [(own, share) for own, share in parts if share]
    names = dict.fromkeys(name for own, _ in parts for name in own)
    measured = {name: [(own[name], share) for own, share in parts if name in own] for name in names}
    return {
        name: sum(value * share for value, share in pairs) / sum(share for _, share in pairs)
        for name, pairs in measured.items()
    }


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
