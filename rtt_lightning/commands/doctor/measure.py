"""The memory that a network takes beside its weights in training, sampling and weighing, measured by one fake step.

These are upper bounds: every response has its greatest length. The memory of libraries (CUDA contexts, gaps between
allocations, Python) is not counted. For a GPU attention over a packed row and the head are computed as there, other
operations as on a CPU; what the attention kernel allocates within itself is not seen.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from math import ceil
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.optim import Optimizer

from rtt_lightning.commands.doctor.imagined import Allocations, imagine
from rtt_lightning.engines.base import Sampling
from rtt_lightning.engines.embedded.cache import growing_cache
from rtt_lightning.engines.embedded.engine import draw
from rtt_lightning.engines.embedded.packed import linears_packed
from rtt_lightning.functional.logprobs import ON_GPU
from rtt_lightning.lm.attention import Segments
from rtt_lightning.lm.forward import layout_logprobs, may_share
from rtt_lightning.lm.layout import layout_of
from rtt_lightning.lm.loading import Lora
from rtt_lightning.lm.merging import adapters_merged, without_adapters
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.readings import Reading
from rtt_lightning.rollout.micro_batches import divided, packed

Holders = dict[str, int]
"""Bytes by holder."""
NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Per weight in NF4: 4 bits, an 8-bit scale per 64 weights, and an fp32 scale per 256 of these scales."""


@dataclass(frozen=True)
class Rows:
    """Responses computed together: ``groups`` prompts of ``prompt`` tokens, ``n`` responses to each."""

    groups: int
    n: int
    prompt: int
    response: int


def longest_micro_batch(update: Rows, parts: int, budget: int | None) -> Rows:
    """The most that one of an update's ``parts`` micro-batches holds, see `rtt_lightning.rollout.micro_batches`.

    Where a budget holds for responses at their longest, shorter ones may fill it to the last token.
    """
    prompt, n, response = update.prompt, update.n, update.response
    even = replace(update, groups=ceil(update.groups / parts))
    if budget is None:
        return even
    runs = divided([response] * n, budget - prompt)
    costs = [prompt + response * len(range(n)[run]) for run in runs] * update.groups
    if len(packed(costs, budget)) > parts:
        return even
    groups = min(update.groups, ceil(budget / (prompt + n * response)))
    room = max(response, budget // groups - prompt)  # a response alone may exceed the budget
    n = min(n, ceil(room / response))
    return Rows(groups, n, prompt, min(response, room // n))


def frozen_bytes(network: nn.Module, lora: Lora | None = None) -> int:
    """Bytes of frozen weights; packed under 4-bit adapters."""
    adapted: Any = [layer for layer in network.modules() if isinstance(layer, LoraLayer)] if lora and lora.nf4 else []
    weights = [layer.get_base_layer().weight for layer in adapted]
    saved = sum(int(weight.nbytes - weight.numel() * NF4_BYTES) for weight in weights)
    return sum(p.nbytes for p in network.parameters() if not p.requires_grad) - saved


def in_bf16(enabled: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def policy_forward(
    network: nn.Module, rows: Rows, gpu: bool = False
) -> tuple[Callable[[], Tensor], Rows, Sequence[int]]:
    """The forward of a micro-batch, the micro-batch, and number and width of its sequences. Not for fake tensors.

    Args:
        network: Of a policy.
        rows: The micro-batch.
        gpu: Compute in the way that a GPU does; fake tensors alone can.
    """
    mask = torch.ones(rows.groups * rows.n, rows.response, dtype=torch.bool)
    mask[0, -1] = len(mask) == 1
    batch: Any = {
        "prompt_ids": torch.arange(rows.groups).repeat_interleave(rows.n)[:, None].expand(-1, rows.prompt),
        "prompt_lengths": torch.full((len(mask),), rows.prompt),
        "response_ids": torch.zeros_like(mask, dtype=torch.long),
        "response_mask": mask,
        "temperature": torch.ones(len(mask)),
    }
    causal, tile = without_adapters(network), ON_GPU if gpu else None
    layout = layout_of(batch, may_share(causal))
    return lambda: layout_logprobs(causal, _fake(layout, gpu), batch, tile)[0], rows, layout.ids.shape


def discriminator_forward(
    network: RelevanceModel, readings: int, length: int, gpu: bool = False
) -> tuple[Callable[[], Tensor], Rows, Sequence[int]]:
    """The same of readings of ``length`` tokens, of which all but one are of the response."""
    tokens = torch.zeros(length - 1, dtype=torch.long)
    same = [Reading(((index > 0,),), tokens, ()) for index in range(readings)]
    packed = may_share(without_adapters(network.network))
    row = network.row(same, torch.device("cpu"), packed)
    shape = (1, readings * length) if packed else (readings, length)
    return lambda: network.rated(_fake(row, gpu)), Rows(readings, 1, 0, length), shape


def _fake(row: Any, gpu: bool) -> Any:
    """Made again, with the dataclasses, dicts and tuples in it, so that what is read is fake too."""
    if isinstance(row, Segments):
        return replace(row, kernel=gpu)
    if is_dataclass(row) and not isinstance(row, type):
        return replace(row, **{field.name: _fake(getattr(row, field.name), gpu) for field in fields(row)})
    if isinstance(row, dict):
        return {name: _fake(value, gpu) for name, value in row.items()}
    if isinstance(row, tuple) and not isinstance(row, torch.Size):
        return tuple(_fake(value, gpu) for value in row)
    return row.clone() if isinstance(row, Tensor) else row


def training_memory(
    network: nn.Module, forward: Callable[[], Tensor], memory: Allocations, bf16: bool, accumulates: bool
) -> Holders:
    """Memory of one micro-batch. Earlier gradients live until the backward pass, or longer if it adds to them."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    before = memory.peak = memory.live
    with in_bf16(bf16):
        result = forward().sum()
    kept = memory.live - before
    if not accumulates:
        for parameter in trained:
            parameter.grad = None
    result.backward()
    return {"activations": kept, "workspace": memory.peak - before - kept}


@torch.no_grad()
def sampling_memory(
    network: Any,
    rows: Rows,
    several: int,
    settings: Sampling,
    memory: Allocations,
    bf16: bool,
    merges: bool,
    packs: bool,
) -> Holders:
    """Memory of the embedded engine for ``several`` of these responses: reading prompts, drawing, the last token."""
    before = memory.peak = memory.live
    with ExitStack() as stack:
        for state in (in_bf16(bf16), in_evaluation(network), adapters_merged(network) if merges else nullcontext()):
            stack.enter_context(state)
        merged = memory.live - before
        stack.enter_context(linears_packed(network) if packs else nullcontext())
        packed = memory.live - before - merged
        cache = growing_cache(network.config)
        mask, uniforms = torch.ones(rows.groups, rows.prompt).long(), torch.zeros(several, dtype=torch.float64)
        read = {"past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
        output = network(input_ids=mask, attention_mask=mask, position_ids=mask.cumsum(-1), **read)
        each = torch.arange(several) // rows.n
        cache.batch_select_indices(each)
        logits = output.logits[each, -1]
        _fill(cache, rows.response - 1)
        tokens, _ = draw(logits, uniforms, settings)
        mask = torch.ones(several, rows.prompt + rows.response).long()
        output = network(input_ids=tokens[:, None], attention_mask=mask, position_ids=mask[:, -1:], **read)
        layers: Any = cache.layers
        kept = sum(s.untyped_storage().nbytes() for layer in layers for s in (layer.keys, layer.values))
        draw(output.logits[:, -1], uniforms, settings)
    held = {"merged weights": merged, "packed weights": packed, "key-value cache": kept}
    return held | {"workspace": memory.peak - before - sum(held.values())}


@torch.no_grad()
def relevance_memory(reader: RelevanceModel, forward: Callable[[], Tensor], memory: Allocations, bf16: bool) -> Holders:
    """Memory of a frozen discriminator, on the meta device, that reads pairs."""
    imagine(reader)
    before = memory.peak = memory.live
    with in_bf16(bf16):
        forward()
    return {"workspace": memory.peak - before}


def _fill(cache: Any, tokens: int) -> None:
    for layer in cache.layers:
        states = [s.new_empty(*s.shape[:2], tokens, s.shape[-1]) for s in (layer.keys, layer.values)]
        layer.update(*states)


def optimizer_bytes(make: Callable[[Iterable[nn.Parameter]], Optimizer], gpu: bool) -> tuple[float, float, bool]:
    """Bytes per trained weight of an optimiser's state and of its temporaries, measured by two real steps.

    Args:
        make: Makes the optimiser from parameters.
        gpu: Whether it will run on a GPU, where torch's optimisers update all weights at once by default.

    Returns:
        Both, and whether the temporaries are for all weights at once, not for one tensor at a time.
    """
    weights = nn.Parameter(torch.zeros(512, 512))
    optimizer = make([weights])
    at_once = gpu and optimizer.defaults.get("foreach", False) is not False and not optimizer.defaults.get("fused")
    for group in optimizer.param_groups if at_once else ():
        group["foreach"] = True
    weights.grad = torch.ones_like(weights)
    optimizer.step()
    with Allocations() as memory:
        optimizer.step()
    state = [value for value in optimizer.state[weights].values() if isinstance(value, Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state}
    return sum(storages.values()) / weights.numel(), memory.peak / weights.numel(), at_once
