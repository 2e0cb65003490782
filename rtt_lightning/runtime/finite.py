"""Numbers that are not finite: found in one pass, with the same result on all processes, and never passed on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from rtt_lightning.runtime.processes import sum_over_ranks


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every element is finite; for a sharded tensor, those of this process. Waits for the device once."""
    own = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    own = [tensor for tensor in own if tensor.is_floating_point() and tensor.numel()]
    # The norm is fast and not finite if an element is not; but large elements may overflow it, so check again.
    return bool(get_total_norm(own).isfinite()) or all(bool(tensor.isfinite().all()) for tensor in own)


def refuse_nonfinite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise on all processes if one of them has a number that is not finite. A collective: all must call it.

    Args:
        tensors: By name.
        what: Start of the message: where they were found.

    Raises:
        FloatingPointError: With the names, on all processes.
    """
    wrong = [] if all_finite(tensors.values()) else nonfinite_names(tensors.items())
    if sum_over_ranks(torch.tensor(float(len(wrong)))) > 0:
        raise FloatingPointError(f"{what} are not finite: {shortened(wrong) or 'on another process'}")


def nonfinite_names(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors with NaN or an infinity."""
    return [name for name, tensor in tensors if not all_finite([tensor])]


def finite_only(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The same tensors, up to the first that is not finite.

    Raises:
        FloatingPointError: At that one, which is not yielded. Sums and casts of finite tensors may overflow.
    """
    for name, weight in weights:
        if not all_finite([weight]):
            raise FloatingPointError(f"{name} is not finite as it would be handed to an engine or written to a file")
        yield name, weight


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """The trainable weights, by name."""
    return {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}


def tensors_in(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested mappings and lists, with their paths."""
    if isinstance(tree, Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors_in(value, f"{path}/{key}" if path else str(key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from tensors_in(value, f"{path}/{index}")


def shortened(names: Iterable[str], most: int = 8) -> str:
    """The first ``most`` different names, in order, and the number of the others."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - most} more" if len(different) > most else ""
    return ", ".join(different[:most]) + more
