"""The language model of a policy, ready to train."""

from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoModelForCausalLM

from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.loading import Lora, add_adapters, checkpoint_activations, load_model, refuse_unusual_head
from rtt_lightning.runtime.sharding import shard


def load_trained(
    model: str,
    lora: Lora | None,
    base_dtype: torch.dtype,
    trust_remote_code: bool,
    recompute: bool,
    mesh: DeviceMesh | None,
) -> Any:
    """The model that trains: with adapters if given, sharded if there is a mesh.

    Args:
        model: Folder or hub name.
        lora: Adapters; without them all weights train.
        base_dtype: Of the weights that stay frozen.
        trust_remote_code: Run code that comes with the model.
        recompute: Recompute activations in the backward pass.
        mesh: Of the processes that share the weights.

    Raises:
        ValueError: For a model whose log-probs we cannot compute, or that cannot be loaded, recomputed or sharded.
    """
    loaded = load_model(AutoModelForCausalLM, model, lora, base_dtype, trust_remote_code)
    refuse_unusual_head(loaded)
    use_own_kernels(loaded)
    if recompute:
        checkpoint_activations(loaded)
    if lora is not None:
        loaded = add_adapters(loaded, lora, "CAUSAL_LM")
    if mesh is not None:
        shard(loaded, mesh, low_precision=base_dtype == torch.bfloat16)
    return loaded
