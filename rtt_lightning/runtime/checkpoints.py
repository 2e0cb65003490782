"""Checkpoint files: whole or in shards, never half written, read without unpickling anything but tensors.

A checkpoint is one file, or a folder: ``meta.pt`` with everything but the sharded tensors, and ``shard-<rank>.pt`` with
the pieces of one process, which are joined along their first axis. Any number of processes can read either. Both get
their name only when they are complete.
"""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor
from torch.distributed.tensor import DTensor

from rtt_lightning.runtime.files import write_whole
from rtt_lightning.runtime.finite import nonfinite_names, shortened, tensors_in
from rtt_lightning.types.errors import UserError

META = "meta.pt"
SHARD_KEY = "rtt:shard:"
"""In ``meta.pt``: before the path of a sharded tensor, in its place."""
COUNT_KEY = "rtt:shards"
"""In ``meta.pt``: key of the number of shards."""
BASE_KEY = "base"
"""Key of what identifies the model that a checkpoint continues."""
SAVED = ("state_dict", "optimizer_states")
"""Parts of a checkpoint that must be finite."""
POINTER = "latest"
"""File in a folder of checkpoints that names the newest complete one."""


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's checkpoint files, made durable before they get their name; also reads sharded folders."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_file(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_run(Path(path))


def write_file(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write one file atomically: readers find the old content or the new, even if this process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def write_shards(checkpoint: Mapping[str, Any], path: Path, rank: int, ranks: int, barrier: Callable[[], None]) -> None:
    """Write this process's part of a sharded checkpoint; all processes call it with the same new ``path``.

    Raises:
        UserError: If ``path`` exists: a sharded checkpoint needs a new name each time. On rank 0 also if it cannot see
            the shards of others.
    """
    if path.exists():
        raise UserError(f"{path} exists; a sharded checkpoint needs a new name, so that the old one stays whole")
    partial = path.with_name(f"{path.name}.partial")
    if rank == 0:
        shutil.rmtree(partial, ignore_errors=True)  # left by a run killed while saving
        partial.mkdir(parents=True)
    barrier()
    shards: dict[str, Tensor] = {}
    meta = _split(checkpoint, "", shards)
    write_file(shards, partial / f"shard-{rank:05d}.pt")
    barrier()
    if rank == 0:
        if (seen := len(_shards(partial))) != ranks:
            raise UserError(f"{partial} has {seen} of {ranks} shards; save to a disk that all nodes share")
        write_file({**meta, COUNT_KEY: ranks}, partial / META)
        partial.replace(path)
        _sync_folder(path.parent)
    barrier()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of either form, with whole tensors on the CPU.

    Raises:
        UserError: If it is missing or damaged, or has weights or optimiser states that are not finite; names the next
            older one in its folder.
    """
    if not path.exists():
        raise UserError(f"no checkpoint at {path}; give the path of a .ckpt file or folder, or of a folder of them")
    older = [other for other in checkpoints(path.parent) if other.name < path.name]
    advice = f"the next older one is {older[-1]}" if older else "there is no older one beside it"
    try:
        checkpoint = _read(path)
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__  # an empty file's error has no message
        raise UserError(f"{path} is damaged or not a checkpoint ({reason}); {advice}") from error
    if wrong := nonfinite_names(tensors_in({key: checkpoint.get(key) for key in SAVED})):
        raise UserError(f"{path} holds numbers that are not finite, in {shortened(wrong)}; {advice}")
    return checkpoint


def _read(path: Path) -> dict[str, Any]:
    if path.is_file():
        return torch.load(path, map_location="cpu", weights_only=True)
    meta = torch.load(path / META, weights_only=True)
    shards = [torch.load(part, mmap=True, weights_only=True) for part in _shards(path)]
    if (count := meta.pop(COUNT_KEY)) != len(shards):
        raise OSError(f"{len(shards)} of {count} shards are there")
    return _join(meta, shards)


def read_run(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a training run.

    Raises:
        UserError: As `read_checkpoint`, and for another kind of file.
    """
    found = read_checkpoint(path)
    if not isinstance(found, dict) or not {"state_dict", "pytorch-lightning_version"} <= found.keys():
        raise UserError(f"{path} is not a checkpoint of a training run; give the .ckpt that `rtt fit` wrote")
    return found


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, oldest first."""
    return sorted(folder.glob("*.ckpt"))


def newest(folder: Path) -> Path | None:
    """The checkpoint that the pointer of a folder names; ``None`` without one.

    Raises:
        UserError: If the pointer names one that is gone.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return None
    name = pointer.read_text().strip()
    path = folder / name
    if not name or not path.exists():
        others = ", ".join(str(other) for other in checkpoints(folder)) or "none"
        raise UserError(f"{pointer} names {name or 'none'}, which is gone; complete checkpoints there: {others}")
    return path


def point_to(path: Path) -> None:
    """Make ``path`` the newest checkpoint of its folder, atomically."""
    write_whole(path.parent / POINTER, f"{path.name}\n")
    _sync_folder(path.parent)


def check_fits(saved: Iterable[str], expected: Iterable[str]) -> None:
    """Raise if a checkpoint's weights are not exactly those that this model trains.

    Raises:
        UserError: With examples of missing and additional ones.
    """
    missing, extra = sorted(set(expected) - set(saved)), sorted(set(saved) - set(expected))
    if missing or extra:
        raise UserError(
            f"the checkpoint does not fit this model: it lacks {len(missing)} weights {missing[:3]} and has "
            f"{len(extra)} others {extra[:3]}; give the model, adapter and depth that it was trained with"
        )


def check_shapes(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise if a checkpoint's weights have another shape than this model's.

    Raises:
        UserError: With an example.
    """
    others = [name for name, weight in expected.items() if saved[name].shape != weight.shape]
    if others:
        then, now = (tuple(weights[others[0]].shape) for weights in (saved, expected))
        raise UserError(
            f"{len(others)} of the checkpoint's weights have another shape than this model's, such as {others[0]} "
            f"{then}, now {now}; give the model and adapters that it was trained with"
        )


def _shards(folder: Path) -> list[Path]:
    """In order of rank."""
    return sorted(folder.glob("shard-*.pt"))


def _split(tree: Any, path: str, shards: dict[str, Tensor]) -> Any:
    """``tree`` with its sharded tensors replaced by their paths; this process's pieces go to ``shards``."""
    if isinstance(tree, DTensor):
        shards[path] = tree.to_local().detach().cpu().clone()
        return SHARD_KEY + path
    if isinstance(tree, Mapping):
        return {key: _split(value, f"{path}/{key}", shards) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_split(value, f"{path}/{index}", shards) for index, value in enumerate(tree))
    return tree


def _join(tree: Any, shards: list[dict[str, Tensor]]) -> Any:
    if isinstance(tree, str) and tree.startswith(SHARD_KEY):
        return torch.cat([shard[tree.removeprefix(SHARD_KEY)] for shard in shards])
    if isinstance(tree, dict):
        return {key: _join(value, shards) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_join(value, shards) for value in tree)
    return tree


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
