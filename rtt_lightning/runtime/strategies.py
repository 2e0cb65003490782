"""FSDP2 for Lightning, with checkpoints of only the trained weights."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from rtt_lightning.runtime.checkpoints import read_run, write_file, write_shards
from rtt_lightning.runtime.sharding import full_tensor


class FSDP(ModelParallelStrategy):
    """FSDP2 over all processes: `configure_model` of our modules shards them by decoder layer.

    Args:
        sharded_checkpoints: Each process writes its own shards to a folder; false gathers them in one file.
        timeout_minutes: Deadline of a collective: how long processes wait for the slowest rollout.
        process_group_backend: Null for ``nccl`` on GPUs and ``gloo`` on CPUs.
    """

    def __init__(
        self,
        sharded_checkpoints: bool = True,
        timeout_minutes: float = 30.0,
        process_group_backend: str | None = None,
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timedelta(minutes=timeout_minutes))
        self.sharded_checkpoints = sharded_checkpoints

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        return self._trainable()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        return (optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer).state_dict()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        path = Path(self.broadcast(str(filepath)))
        if self.sharded_checkpoints:
            write_shards(checkpoint, path, self.global_rank, self.world_size, self.barrier)
            return
        whole = _map_shards(checkpoint, lambda shard: full_tensor(shard).cpu())
        if self.is_global_zero:
            write_file(whole, path)
        self.barrier()

    @torch.no_grad()
    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of any number of processes, and take this process's shards."""
        checkpoint = read_run(Path(self.broadcast(str(checkpoint_path))))
        assert self.lightning_module is not None
        self.lightning_module.on_load_checkpoint(checkpoint)  # Lightning would call it after copying
        for name, weight in self._trainable().items():
            weight.copy_(_like(checkpoint["state_dict"][name], weight))
        for optimizer, state in zip(self.optimizers, checkpoint.get("optimizer_states", []), strict=False):
            optimizer.load_state_dict(_sharded_state(state, optimizer))
        return checkpoint

    def _trainable(self) -> dict[str, Tensor]:
        assert self.model is not None
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}


def _sharded_state(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Convert an optimiser state with whole tensors to one sharded like its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sharded = {
        index: {
            name: _like(value, parameters[index]) if isinstance(value, Tensor) and value.dim() else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    return {**state, "state": sharded}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole tensor, sharded as ``parameter`` is."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _map_shards(tree: Any, function: Any) -> Any:
    if isinstance(tree, DTensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _map_shards(value, function) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map_shards(value, function) for value in tree)
    return tree
