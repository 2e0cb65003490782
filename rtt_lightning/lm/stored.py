"""Weights with the names, layout and dtype of model files, as servers expect them."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.runtime.finite import finite_only
from rtt_lightning.types.errors import UserError

Weights = Iterator[tuple[str, Tensor]]
"""Full tensors by name, one after the other."""


def as_stored(model: nn.Module, weights: Weights, dtype: torch.dtype) -> Weights:
    """Weights of a model as its folder would hold them: experts one by one where `transformers` fuses them.

    Holds one decoder layer at a time. A collective: all processes must read to the end.

    Args:
        model: With adapters or without.
        weights: Full weights of the model.
        dtype: Of the result, see `in_dtype`.

    Raises:
        UserError: If tied weights differ.
        FloatingPointError: At the first weight that is not finite in that dtype.
    """
    plain: Any = without_adapters(model)
    tied = set(plain.all_tied_weights_keys or ())
    cast = finite_only((name, in_dtype(plain, name, weight, dtype)) for name, weight in weights)
    for _, layer in groupby(cast, key=lambda item: _layer_of(item[0])):
        tensors = dict(layer)
        if apart := tied & set(tensors):
            raise UserError(
                f"{', '.join(apart)} is tied to another weight, and adapters have moved them apart: files hold one "
                "tensor for both. Leave the embeddings without adapters, or untie them (tie_word_embeddings)"
            )
        yield from revert_weight_conversion(plain, tensors).items()


def in_dtype(model: Any, name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight in ``dtype``; in fp32 if the model keeps it so, as biases of routers; unchanged if not a float."""
    if not weight.is_floating_point():
        return weight
    kept = set(model._keep_in_fp32_modules_strict or ())
    if dtype == torch.float16:
        kept |= set(model._keep_in_fp32_modules or ())
    alone = any(re.search(part.replace("*", ".*"), name) for part in kept)
    return weight.to(torch.float32 if alone else dtype)


def _layer_of(name: str) -> str:
    """The name of a tensor up to the number of its layer."""
    found = re.match(r".*?\.\d+\.", name)
    return found[0] if found else name
