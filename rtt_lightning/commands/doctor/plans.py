"""The memory of a configured run: builds its network from the config alone, and takes a fake step of each kind.

Under FSDP the network computes as if it were whole: weights, gradients and optimiser state are divided by the number
of processes, and the layers gathered at a time are added. A 4-bit base computes as one in bf16.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import ceil
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from transformers import AutoConfig

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.doctor.budget import GIB
from rtt_lightning.commands.doctor.imagined import Allocations, imagine, imagined
from rtt_lightning.commands.doctor.measure import (
    Holders,
    Rows,
    discriminator_forward,
    frozen_bytes,
    longest_micro_batch,
    optimizer_bytes,
    policy_forward,
    relevance_memory,
    sampling_memory,
    training_memory,
)
from rtt_lightning.datamodules import LabelledPairs, PromptWindows, RubricDataModule
from rtt_lightning.datamodules.lengths import render_prompts
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.engines import RolloutEngine, TransformersEngine
from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.engines.vllm.process import CPU_SETTINGS
from rtt_lightning.engines.vllm.server import VLLMServerEngine
from rtt_lightning.lm.loading import Lora, load_reference
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.lm.policy_model import load_trained
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.modules.policy import PolicyModule
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.runtime.hub import reading
from rtt_lightning.runtime.sharding import decoder_layers
from rtt_lightning.runtime.strategies import FSDP
from rtt_lightning.types.errors import UserError


class Unmeasurable(ValueError):
    """A network that may train, but does not run on fake tensors."""


@dataclass(frozen=True)
class Place:
    """Where a run takes place: its trainer, and the bytes that a process may use (``None`` for other machines)."""

    trainer: Trainer
    gpu: bool
    memory: int | None

    @property
    def bf16(self) -> bool:
        return "bf16" in str(self.trainer.precision)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of frozen weights."""
        return torch.bfloat16 if self.bf16 else torch.float32

    @property
    def shards(self) -> int:
        """Processes that share one model; 1 for a whole copy."""
        return self.trainer.world_size if isinstance(self.trainer.strategy, FSDP) else 1


@dataclass(frozen=True)
class Estimate:
    """For one process: bytes per phase and holder, in order; bytes of a checkpoint; and its micro-batch in words."""

    phases: dict[str, Holders]
    checkpoint: int
    micro_batch: str


@dataclass(frozen=True)
class _Run:
    """What a process computes (a network on the meta device, its longest micro-batch, passes of other phases), and what
    else it holds."""

    network: nn.Module
    lora: Lora | None
    forward: Callable[[], Tensor]
    rows: Rows
    sequences: Sequence[int]
    held: Holders = field(default_factory=dict)
    passes: dict[str, Callable[[Allocations], Holders]] = field(default_factory=dict)


def read_config(model: str, trust_remote_code: bool = False) -> Any:
    """The config of a model folder or hub name; for multimodal models that of the language model.

    Raises:
        UserError: If it cannot be read.
    """
    with reading("the shape of a model", model, "config.json"):
        return AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code).get_text_config()


def estimate_memory(module: Any, data: RubricDataModule, rollout: RolloutCallback, place: Place) -> Estimate:
    """The memory of one process of a run.

    Args:
        module: A policy or a discriminator, without its weights.
        data: With loaded records.
        rollout: Engine and relevance source, for a policy.
        place: The trainer and its devices.

    Raises:
        Unmeasurable: If the network does not run on fake tensors.
        UserError: For other modules or views, or if a model's config or the discriminator cannot be read.
    """
    if isinstance(module, DiscriminatorModule) and isinstance(data.view, LabelledPairs):
        run = _discriminator_run(module, data, data.view, place)
    elif isinstance(module, PolicyModule) and isinstance(data.view, PromptWindows):
        run = _policy_run(module, data, data.view, rollout, place)
    else:
        raise UserError(
            "memory is estimated for a policy on windows of prompts, or a discriminator on labelled pairs; "
            f"got {type(module).__name__} on {type(data.view).__name__}"
        )
    trainer, world, shards = place.trainer, place.trainer.world_size, place.shards
    state, step, at_once = optimizer_bytes(module.make_optimizer, place.gpu)
    sizes = [p.numel() for p in run.network.parameters() if p.requires_grad]
    trained = 4 * sum(sizes)
    loading = {"base weights": frozen_bytes(run.network, run.lora), "trained weights": trained}
    resident = {
        **{holder: size // shards for holder, size in loading.items()},
        "gradients": trained // shards,
        "gradient buckets": trained * (world > shards),
        "optimizer state": int(state * sum(sizes) / shards),
        **run.held,
    }
    gathered, gradients = _gathered_bytes(run.network, place) if shards > 1 else (0, 0)
    try:
        with imagined() as memory:
            imagine(run.network, place.dtype if shards > 1 else None)  # shards are gathered in the dtype of computing
            passes = {phase: measure(memory) for phase, measure in run.passes.items()}
            accumulates = trainer.accumulate_grad_batches > 1
            passes["training"] = training_memory(run.network, run.forward, memory, place.bf16, accumulates)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unmeasurable(f"not estimated: this network does not run without numbers ({reason})") from error
    passes["updating"] = {"workspace": int(step * (sum(sizes) if at_once else max(sizes)) / shards)}
    phases = {phase: resident | {"gathered layers": gathered} | holders for phase, holders in passes.items()}
    phases["training"]["gathered layers"] += gradients
    if not (place.gpu and shards > 1):  # what will be sharded is loaded to the host
        phases = {"loading": loading} | phases
    rows = run.rows
    said = (
        f"{rows.groups * rows.n} rows of up to {rows.prompt} + {rows.response} tokens, as {run.sequences[0]} sequences "
        f"of {run.sequences[1]}; {f'{world} processes' if world > 1 else 'one process'} in {trainer.precision}; "
        f"{state:.2f} bytes of optimizer state per trained weight"
    )
    phases = {phase: {name: size for name, size in holders.items() if size} for phase, holders in phases.items()}
    return Estimate(phases, trained + int(state * sum(sizes)), said)


def _policy_run(
    module: PolicyModule, data: RubricDataModule, view: PromptWindows, rollout: RolloutCallback, place: Place
) -> _Run:
    trainer, settings, collector = place.trainer, rollout.sampling, rollout.collector
    prompts = ceil(view.prompts / trainer.world_size)
    samples = [record.sample for records in data.records.values() for record in records]
    longest = max(map(len, render_prompts(samples, module.tokenizer, data.chat_template_kwargs)))
    validates = bool(trainer.limit_val_batches and data.records.get("val"))
    update = Rows(ceil(prompts / view.updates), settings.n, longest, settings.max_new_tokens)
    rows = longest_micro_batch(update, trainer.accumulate_grad_batches, rollout.micro_batch_tokens)
    trusted, held = module.trust_remote_code, Holders()
    with torch.device("meta"):
        network = load_trained(
            module.base_model, module.lora, place.dtype, trusted, module.gradient_checkpointing, mesh=None
        )
        if module.lora is None and (module.kl_coef > 0 or validates):  # validation reports the KL to it
            reference = load_reference(module.base_model, place.dtype, place.shards > 1, trusted)
            held["reference"] = frozen_bytes(reference)
    run = _Run(network, module.lora, *policy_forward(network, rows, place.gpu), held=held)
    held["engine"] = _engine_bytes(collector.engine, network, place)
    if isinstance(collector.engine, TransformersEngine):
        evaluated = view.eval_prompts * rollout.evaluation.n if validates else 0
        several = min(collector.engine.batch_size, max(prompts * settings.n, evaluated))
        tokens = max(settings.max_new_tokens, rollout.evaluation.max_new_tokens * validates)
        sampled = Rows(ceil(several / settings.n), settings.n, longest, tokens)
        merges = collector.engine.merges(network) and place.shards == 1 and not (module.lora and module.lora.nf4)
        how = {"bf16": place.bf16, "merges": merges, "packs": not place.gpu and place.shards == 1}
        run.passes["sampling"] = partial(sampling_memory, network, sampled, several, settings, **how)
    if isinstance(collector.relevance, DiscriminatorRelevance):
        config = collector.relevance.config
        with torch.device("meta"):
            reader = build(config)
        held["discriminator"] = frozen_bytes(reader.requires_grad_(False), config.lora)
        length = min(reader.longest, longest + settings.max_new_tokens)  # criteria are parts of their prompts
        pairs = max(1, collector.relevance.tokens(place.gpu) // length)
        forward, *_ = discriminator_forward(reader, pairs, length, place.gpu)
        run.passes["weighing"] = partial(relevance_memory, reader, forward, bf16=place.bf16)
    return run


def _discriminator_run(module: DiscriminatorModule, data: RubricDataModule, view: LabelledPairs, place: Place) -> _Run:
    config, pairs = module.config, labelled_pairs(data.records["train"])
    with torch.device("meta"):
        reader = build(config, place.dtype)
    units = view.units(pairs)
    texts = [reader.together([pair["criterion"] for pair in unit], unit[0]["response"]) for unit in units]
    readings = reader.encode([*chain.from_iterable(texts)])
    length = max(each.before + min(len(each.response), reader.longest) for each in readings)
    return _Run(reader.network, config.lora, *discriminator_forward(reader, view.batch_size, length, place.gpu))


def _numel(network: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trained)


def _gathered_bytes(network: nn.Module, place: Place) -> tuple[int, int]:
    """Bytes of whole weights outside the layers and of two layers (the current and the next); and of fp32 gradients of
    the former and of one layer."""
    layers, width = decoder_layers(network), place.dtype.itemsize
    sizes = [(_numel(network, trained), [_numel(layer, trained) for layer in layers]) for trained in (False, True)]
    (root, layer), (trained_root, trained_layer) = ((whole - sum(parts), max(parts)) for whole, parts in sizes)
    return (root + 2 * layer) * width, trained_root * width + trained_layer * (width + 4)


def runs_vllm(engine: RolloutEngine) -> bool:
    """Whether vLLM runs on this machine."""
    return isinstance(engine, VLLMEngine) or (isinstance(engine, VLLMServerEngine) and not engine.urls)


def _engine_bytes(engine: RolloutEngine, network: nn.Module, place: Place) -> int:
    """What vLLM holds from the first window on: its share of a GPU, or its weights and cache."""
    if not isinstance(engine, VLLMEngine | VLLMServerEngine) or not runs_vllm(engine):
        return 0
    if place.gpu:
        return int(engine.gpu_memory_utilization * (place.memory or 0))
    cache = int(float((CPU_SETTINGS | os.environ)["VLLM_CPU_KVCACHE_SPACE"]) * GIB)
    return _numel(without_adapters(network)) * getattr(torch, engine.dtype).itemsize + cache
