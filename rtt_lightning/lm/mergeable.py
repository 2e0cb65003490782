"""Checks, before anything is sampled, that a sampler will get the weights that train."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from rtt_lightning.lm.merging import adapted_modules, beneath, is_peft_layer, merge, whole_copy, without_adapters
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.runtime.sharding import has_packed_weights

PROBE = 8
"""Tokens that the model reads for the check."""
ROUNDING = 0.05
"""Largest relative error of a computation in bf16 against fp32."""
EXACT = 1e-3
"""Largest relative error of one computation in fp32 against another."""


@torch.no_grad()
def check_mergeable(model: Any) -> None:
    """Raise if merging the adapters into the weights would change what the model computes.

    The model reads a few tokens. The first layer of each adapted kind is copied in fp32; the copy must give the layer's
    output, and, with large adapters, the same before and after PEFT merges it. Layers in 4 bits are skipped: they are
    linear. A collective if the model is sharded.

    Raises:
        ValueError: With the model's type, the kind of layer, and what to do instead.
    """
    plain = without_adapters(model)
    if model is plain:
        return
    adapted = adapted_modules(plain)
    outside = {id(p) for p in model.parameters() if p.requires_grad} - {id(p) for p in plain.parameters()}
    if outside:
        raise _refusal(model, "prompts that train", "they are no weights of the model")
    tried: set[object] = set()
    ids = torch.arange(PROBE, device=model.device)[None] % model.config.get_text_config().vocab_size
    with ExitStack() as stack:
        for module in adapted.values():
            if not has_packed_weights(module):
                stack.callback(module.register_forward_hook(_trial(model, tried), with_kwargs=True).remove)
        stack.enter_context(in_evaluation(model))
        try:
            model(input_ids=ids, use_cache=False)
        except (AttributeError, TypeError) as problem:  # PEFT wrapped a layer that it does not support
            raise _refusal(model, "adapters", f"with them the model does not run, {problem}") from problem


def _trial(model: Any, tried: set[object]) -> Callable[..., None]:
    """A forward hook that tries out a layer, once per kind."""

    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        kind = _kind(module)
        if kind in tried:
            return
        tried.add(kind)
        inputs = tree_map(_in_fp32, (args, kwargs))
        with torch.autocast(model.device.type, enabled=False):
            reason = _fault(module, inputs, output)
        if reason:
            raise _refusal(model, " over ".join(part.__name__ for part in kind if isinstance(part, type)), reason)

    return hook


def _fault(module: Any, inputs: Any, output: Any) -> str:
    """What is wrong with merging this layer; empty if nothing is."""
    args, kwargs = inputs
    try:
        copy = whole_copy(module)
        error = _error(output, copy(*args, **kwargs))
        if not error <= ROUNDING:
            return f"a copy of it in fp32 gives another output, relative error {error:.1e}"
        generator = torch.Generator().manual_seed(0)
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        for name, parameter in copy.named_parameters():
            if name in trained:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise.to(parameter.device), alpha=0.1)
        expected = copy(*args, **kwargs)
        error = _error(expected, merge(copy)(*args, **kwargs))
    except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as problem:  # raised by PEFT
        return f"{type(problem).__name__}: {problem}"
    return "" if error <= EXACT else f"merged, it gives another output, relative error {error:.1e}"


def _kind(module: Any) -> tuple[object, ...]:
    """What identifies layers that are merged in the same way."""
    chain = [module]
    while is_peft_layer(inner := getattr(chain[-1], "base_layer", None)):
        chain.append(inner)
    names = tuple(getattr(layer, "parameter_name", None) for layer in chain)
    return (*(type(layer) for layer in chain), type(beneath(module)), names)


def _in_fp32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _error(expected: Any, found: Any) -> float:
    """Relative error of the tensors in two outputs: mean difference over mean size."""
    pairs = zip(tree_leaves(expected), tree_leaves(found), strict=True)
    floats = [(a.float(), b.float()) for a, b in pairs if isinstance(a, Tensor) and a.is_floating_point()]
    difference = sum(float((a - b).abs().sum()) for a, b in floats)
    return difference / max(sum(float(a.abs().sum()) for a, _ in floats), 1e-30)


def _refusal(model: Any, kind: str, reason: str) -> ValueError:
    return ValueError(
        f"{model.config.model_type}: {kind} cannot be merged into the weights that a sampler needs: {reason}. "
        "Train all weights (--model.init_args.lora null), sample from adapters kept apart "
        "(--rollout.engine.init_args.merge_adapters false, of TransformersEngine), or use another model"
    )
