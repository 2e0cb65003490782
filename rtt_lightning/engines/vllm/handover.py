"""How servers get weights: here from a folder that they load; `nccl_handover` has another way."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from rtt_lightning.engines.vllm.http import ServerFailure, load_weights
from rtt_lightning.runtime.processes import gather, rank

FILE_BYTES = 2**30
"""Size of a file, and of what is held of the model at a time."""
Weights = Callable[[], Iterator[tuple[str, Tensor]]]
"""Full tensors by name, as `rtt_lightning.lm.stored` gives them: a collective, one pass per call."""


class Handover(ABC):
    """Gives servers new weights. All processes of the run call it; only the first talks to the servers."""

    server_arguments: Sequence[str] = ()
    """Arguments that a server must be started with."""

    @abstractmethod
    def send(self, weights: Weights, urls: Sequence[str], version: str, deadline: float) -> dict[str, str]:
        """Give all servers new weights with a name, and make them drop what they cached from the old ones.

        Args:
            weights: To send.
            urls: Of the servers.
            version: Name of these weights.
            deadline: Seconds that a server may take.

        Returns:
            Why some servers did not take them, by URL, on every process.
        """


class FolderHandover(Handover):
    """The first process writes the weights once, and every server loads them from there.

    Args:
        folder: To write to; servers must see it under the same path, as the same user. Null makes a temporary folder,
            for servers on this machine.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def send(self, weights: Weights, urls: Sequence[str], version: str, deadline: float) -> dict[str, str]:
        if self.folder:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(prefix=f"weights-{version}-", dir=self.folder))
        try:
            write_weights(weights(), written)
            return gather(_load_everywhere(urls, written, version, deadline) if rank() == 0 else {})[0]
        finally:
            shutil.rmtree(written, ignore_errors=True)


@torch.no_grad()
def write_weights(weights: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    """Write weights as safetensors files. The first process writes; the others only take part in gathering.

    Args:
        weights: Full tensors by name.
        folder: An existing folder.
    """
    part: dict[str, Tensor] = {}
    number, size = 0, 0
    for name, weight in weights:
        if rank() != 0:
            continue
        part[name] = weight.cpu().contiguous()
        size += part[name].nbytes
        if size >= FILE_BYTES:
            save_file(part, folder / f"weights-{number:04d}.safetensors")
            part, number, size = {}, number + 1, 0
    if part:
        save_file(part, folder / f"weights-{number:04d}.safetensors")


def _load_everywhere(urls: Sequence[str], folder: Path, version: str, deadline: float) -> dict[str, str]:
    """Make all servers load the weights at the same time; returns why some did not."""

    def load(url: str) -> str:
        try:
            load_weights(url, folder, version, deadline)
        except (ServerFailure, ValueError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(urls)) as pool:
        reasons = zip(urls, pool.map(load, urls), strict=True)
    return {url: reason for url, reason in reasons if reason}
