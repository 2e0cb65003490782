"""The key-value cache of the embedded engine: grows in place, while that of `transformers` is copied for each token.

`benchmarks/sampling.py` measures what this saves.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rtt_lightning.types.errors import UserError

ROOM = 64
"""Tokens by which full storage grows."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, ``[row head position feature]``: views into storage with room for more tokens."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._storage: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens; returns all keys and values."""
        if not self.is_initialized:
            return super().update(key_states, value_states, *args, **kwargs)
        assert self.keys is not None
        assert self.values is not None
        start, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self._storage is None or end > self._storage[0].shape[2]:
            self._storage = _with_room(self.keys, end + ROOM), _with_room(self.values, end + ROOM)
        keys, values = self._storage
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._storage = None


def growing_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache; layers with an attention window use those of `transformers`.

    Raises:
        UserError: For a model with other layers, such as recurrent ones, whose caches cannot drop single rows.
    """
    cache = DynamicCache(config=config)
    others = {type(layer).__name__ for layer in cache.layers} - {
        DynamicLayer.__name__,
        DynamicSlidingWindowLayer.__name__,
    }
    if others:
        raise UserError(
            f"the embedded engine samples from models with attention alone, and {config.model_type!r} keeps "
            f"{', '.join(sorted(others))} caches; sample with vLLM: --config engines/vllm.yaml"
        )
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _with_room(states: Tensor, length: int) -> Tensor:
    rows, heads, known, features = states.shape
    storage = torch.empty(rows, heads, length, features, dtype=states.dtype, device=states.device)
    storage[:, :, :known] = states
    return storage
