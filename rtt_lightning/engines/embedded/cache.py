"""The key-value cache of the embedded engine: grows and loses rows in place; that of `transformers` is copied for both.

`benchmarks/sampling.py` measures what this saves.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rtt_lightning.types.errors import UserError

ROOM = 64
"""Tokens by which full storage grows."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, ``[row head position feature]``: views into storage with room for more tokens.

    What `update` returns is valid until the next call. On a CPU the positions of a feature are neighbours in the
    storage of keys, as products with a single query read them fastest.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._storage: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens; returns all keys and values."""
        key_states = key_states.to(value_states.dtype)  # as attention takes them under autocast
        if not self.is_initialized:
            return super().update(key_states, value_states, *args, **kwargs)
        assert self.keys is not None
        assert self.values is not None
        start, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self._storage is None or end > self._storage[0].shape[2]:
            turned = key_states.device.type == "cpu"
            self._storage = _with_room(self.keys, end + ROOM, turned), _with_room(self.values, end + ROOM, False)
        keys, values = self._storage
        rows = len(key_states)
        keys[:rows, :, start:end], values[:rows, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:rows, :, :end], values[:rows, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._storage = None

    def fill(self, gaps: Tensor, rows: Tensor, count: int) -> None:
        """Copy ``rows`` into ``gaps``, and keep the first ``count`` rows."""
        for states in (self.keys, self.values):
            assert states is not None
            states[gaps] = states[rows]
        self.keys, self.values = self.keys[:count], self.values[:count]  # pyright: ignore[reportOptionalSubscript]


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


def remaining(going: Sequence[bool]) -> list[int]:
    """The row that has each place once some have ended: the last ones fill the gaps, so that few move."""
    count = sum(going)
    last = (row for row in range(count, len(going)) if going[row])
    return [row if going[row] else next(last) for row in range(count)]


def keep_rows(cache: DynamicCache, order: Sequence[int], device: torch.device) -> None:
    """Keep the rows that `remaining` found, in its order."""
    moves = [(place, row) for place, row in enumerate(order) if place != row]
    gaps, rows = torch.tensor(moves, device=device, dtype=torch.long).view(-1, 2).T
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.fill(gaps, rows, len(order))
        else:
            layer.batch_select_indices(torch.tensor(order, device=device))  # pyright: ignore[reportAttributeAccessIssue]


def _with_room(states: Tensor, length: int, turned: bool) -> Tensor:
    """``[row head length feature]``, in memory ``[row head feature length]`` if turned."""
    rows, heads, known, features = states.shape
    shape = (rows, heads, features, length) if turned else (rows, heads, length, features)
    storage = states.new_empty(shape)
    storage = storage.mT if turned else storage
    storage[:, :, :known] = states
    return storage
