"""Run networks on fake tensors, which have no values, and measure the memory that they would take."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


class Allocations(TorchDispatchMode):
    """Bytes of the tensors that are made while it is on, each storage once, and their peak.

    Tensors ``known`` before are not counted.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._grouped_mm.default and args[0].dtype == torch.float32:
            result = _grouped_mm(*args, **(kwargs or {}))
        elif function is torch.ops.mkldnn._reorder_linear_weight.default and isinstance(args[0], FakeTensor):
            result = torch.empty_like(args[0])
        else:
            result = function(*args, **(kwargs or {}))
        if function.is_view or function.namespace == "prim":
            return result
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self._add(tensor if tensor.is_mkldnn else tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, held: Any) -> None:
        """Count a storage, or a tensor in a layout of oneDNN, which has none and is made once."""
        size = held.numel() * held.element_size() if isinstance(held, Tensor) else held.nbytes()
        if isinstance(held, Tensor) or held not in self._known:
            self.live += size
            weakref.finalize(held, self._free, size)
        if not isinstance(held, Tensor):
            self._known.add(held)

    def _free(self, size: int) -> None:
        self.live -= size


def _grouped_mm(a: Tensor, b: Tensor, offsets: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
    """An output of the right size for mixtures of experts; for fake tensors PyTorch has this operation only in bf16."""
    groups = (len(offsets),) if offsets is not None and a.ndim == b.ndim == 2 else a.shape[:-2]
    return a.new_empty(*groups, a.shape[-2], b.shape[-1])


@contextmanager
def imagined() -> Iterator[Allocations]:
    """Compute with fake tensors, and count what would be allocated. Real tensors may take part, uncounted."""
    with FakeTensorMode(allow_non_fake_inputs=True), Allocations() as memory:
        yield memory


def imagine(module: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Give a module on the meta device fake weights and buffers on the CPU, tied ones tied; weights in ``dtype``."""
    made: dict[int, tuple[Tensor, Tensor]] = {}  # keeps the originals alive, so that no id is reused
    own: list[dict[str, Any]] = [kind for part in module.modules() for kind in (part._parameters, part._buffers)]
    for tensors in own:
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter) and id(tensor) not in made:
                new = nn.Parameter(torch.empty_like(tensor, device="cpu", dtype=dtype), tensor.requires_grad)
                made[id(tensor)] = tensor, new
            elif tensor is not None and id(tensor) not in made:
                made[id(tensor)] = tensor, torch.empty_like(tensor, device="cpu")
            tensors[name] = None if tensor is None else made[id(tensor)][1]
