"""A configured run as a `Job`: what each of its processes is asked to do."""

import os
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from lightning.pytorch import Trainer
from transformers import AutoConfig

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.doctor.budget import GIB
from rtt_lightning.commands.doctor.jobs import Job, Shape, shape_of
from rtt_lightning.commands.doctor.memory import optimizer_bytes
from rtt_lightning.datamodules import LabelledPairs, PromptWindows, RubricDataModule
from rtt_lightning.datamodules.lengths import rendered
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.engines import RolloutEngine, TransformersEngine
from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.engines.vllm.process import CPU_SETTINGS
from rtt_lightning.engines.vllm.server import VLLMServerEngine
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.modules.policy import PolicyModule
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.relevance.discriminator.network import RelevanceConfig
from rtt_lightning.runtime.hub import reading
from rtt_lightning.runtime.strategies import FSDP


@dataclass(frozen=True)
class Place:
    """Where a run takes place: its trainer, and the bytes that a process may use, ``None`` for other machines."""

    trainer: Trainer
    gpu: bool
    memory: int | None


def read_config(model: str, trust_remote_code: bool = False) -> Any:
    """The config of a model folder or hub name; of its language model where it reads more than text.

    Raises:
        ValueError: If it cannot be read.
    """
    with reading("the shape of a model", model, "config.json"):
        return AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code).get_text_config()


def read_shape(model: str, layers: int | None = None, trust_remote_code: bool = False) -> Shape:
    """The shape of a model folder or hub name, of its first ``layers`` alone where given; no weights are read.

    Raises:
        ValueError: If its config cannot be read, or says nothing of its shape.
    """
    shape = shape_of(read_config(model, trust_remote_code))
    return replace(shape, layers=layers or shape.layers)


def job_of(module: Any, data: RubricDataModule, rollout: RolloutCallback, place: Place) -> Job:
    """What one process of a run does.

    Args:
        module: A policy or a discriminator, without its weights.
        data: With its records loaded.
        rollout: Samples and weighs for a policy.
        place: The trainer and its devices.

    Raises:
        ValueError: For another kind of module or view, or if a model's config or the discriminator cannot be read.
    """
    if isinstance(module, DiscriminatorModule) and isinstance(data.view, LabelledPairs):
        job = _discriminator_job(module.config, data, data.view)
    elif isinstance(module, PolicyModule) and isinstance(data.view, PromptWindows):
        job = _policy_job(module, data, data.view, rollout, place)
    else:
        raise ValueError(
            "memory is estimated for a policy on windows of prompts, or a discriminator on labelled pairs; "
            f"got {type(module).__name__} on {type(data.view).__name__}"
        )
    trainer, world = place.trainer, place.trainer.world_size
    sharded = isinstance(trainer.strategy, FSDP)
    state_bytes, step_bytes = optimizer_bytes(module.make_optimizer, place.gpu)
    return replace(
        job,
        bf16="bf16" in str(trainer.precision),
        shards=world if sharded else 1,
        replicas=world > 1 and not sharded,
        state_bytes=state_bytes,
        step_bytes=step_bytes,
        gpu=place.gpu,
    )


def _policy_job(
    module: PolicyModule, data: RubricDataModule, view: PromptWindows, rollout: RolloutCallback, place: Place
) -> Job:
    trainer, sampling = place.trainer, rollout.sampling
    shape = read_shape(module.base_model, trust_remote_code=module.trust_remote_code)
    prompts = ceil(view.prompts / trainer.world_size)
    samples = [record.sample for records in data.records.values() for record in records]
    validates = bool(trainer.limit_val_batches and data.records.get("val"))
    job = Job(
        shape,
        lora=module.lora,
        checkpointing=module.gradient_checkpointing,
        groups=ceil(prompts / (view.updates * trainer.accumulate_grad_batches)),
        group_size=sampling.n,
        prompt=max(map(len, rendered(samples, module.tokenizer, data.chat_template_kwargs))),
        response=sampling.max_new_tokens,
        sampled_tokens=max(sampling.max_new_tokens, rollout.evaluation.max_new_tokens * validates),
        reference=module.kl_coef > 0 or validates,  # validation reports the KL to it
        engine_bytes=_engine_bytes(rollout.collector.engine, shape, place),
    )
    if isinstance(rollout.collector.engine, TransformersEngine):
        evaluated = view.eval_prompts * rollout.evaluation.n if validates else 0
        rows = min(rollout.collector.engine.batch_size, max(prompts * sampling.n, evaluated))
        job = replace(job, sampled=rows, merge=rollout.collector.engine.merge_adapters)
    relevance = rollout.collector.relevance
    if not isinstance(relevance, DiscriminatorRelevance):
        return job
    config = relevance.config
    return replace(
        job,
        scorer=(read_shape(config.model, config.layers), config.lora),
        scored=relevance.batch_size,
        scored_tokens=min(config.max_length, job.prompt + job.response),  # criteria are parts of their prompts
    )


def _discriminator_job(config: RelevanceConfig, data: RubricDataModule, view: LabelledPairs) -> Job:
    tokenizer, pairs = load_tokenizer(config.model), labelled_pairs(data.records["train"])
    texts = [config.template.replace("{criterion}", pair["criterion"]) + pair["response"] for pair in pairs]
    longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
    return Job(
        read_shape(config.model, config.layers),
        lora=config.lora,
        classifier=True,
        groups=view.batch_size,
        response=min(config.max_length, longest),
    )


def runs_vllm(engine: RolloutEngine) -> bool:
    """Whether vLLM runs on this machine."""
    return isinstance(engine, VLLMEngine) or (isinstance(engine, VLLMServerEngine) and not engine.urls)


def _engine_bytes(engine: RolloutEngine, shape: Shape, place: Place) -> int:
    """What vLLM holds of the device from the first window on: its share of a GPU, or its weights and cache."""
    if not isinstance(engine, VLLMEngine | VLLMServerEngine) or not runs_vllm(engine):
        return 0
    if place.gpu:
        return int(engine.gpu_memory_utilization * (place.memory or 0))
    cache = int(float((CPU_SETTINGS | os.environ)["VLLM_CPU_KVCACHE_SPACE"]) * GIB)
    return shape.parameters() * getattr(torch, engine.dtype).itemsize + cache
