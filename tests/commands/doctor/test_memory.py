"""Estimated memory beside what real models, optimisers, engines and runs hold."""

import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bitsandbytes
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from rtt_lightning.cli import main
from rtt_lightning.commands.doctor.budget import GIB
from rtt_lightning.commands.doctor.dry_run import _plan, parse
from rtt_lightning.commands.doctor.jobs import Job, Shape, shape_of
from rtt_lightning.commands.doctor.memory import (
    autocast_bytes,
    cache_bytes,
    estimate,
    optimizer_bytes,
    saved_activations,
)
from rtt_lightning.engines.base import SampleRequest, Sampling
from rtt_lightning.engines.embedded import engine as engine_module
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import Lora, add_adapters, checkpoint_activations
from rtt_lightning.lm.tokenizers import load_tokenizer
from tests.modules.test_discriminator import discriminator_args

SIZES: dict[str, Any] = {
    "vocab_size": 1009,
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
QWEN_7B = Qwen2Config(
    vocab_size=152064,
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    tie_word_embeddings=False,
)
RANK_4 = Lora(rank=4, alpha=8)

# -- weights -------------------------------------------------------------------------------------------------------

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "llama tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama with biases": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "llama without head_dim": LlamaConfig(**{**SIZES, "head_dim": None}),
    "qwen2": Qwen2Config(**{name: size for name, size in SIZES.items() if name != "head_dim"}),
    "qwen3": Qwen3Config(**SIZES, tie_word_embeddings=True),
    "qwen3 with biases": Qwen3Config(**SIZES, attention_bias=True),
    "Qwen2.5-7B": QWEN_7B,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_real_model(name: str) -> None:
    shape = shape_of(CONFIGS[name])
    with torch.device("meta"):
        policy = AutoModelForCausalLM.from_config(CONFIGS[name])
        config = CONFIGS[name].from_dict({**CONFIGS[name].to_dict(), "num_labels": 1})
        classifier = AutoModelForTokenClassification.from_config(config)
        assert shape.parameters() == sum(p.numel() for p in policy.parameters())
        assert shape.parameters(classifier=True) == sum(p.numel() for p in classifier.parameters())
        adapted = add_adapters(policy, RANK_4, "CAUSAL_LM")
    assert shape.adapters(4) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_a_7b_model_has_the_parameters_that_its_card_says() -> None:
    assert shape_of(QWEN_7B).parameters() == 7_615_616_512


def test_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="llama, qwen2, qwen3 models only, got 'gpt2'"):
        shape_of(GPT2Config())


# -- optimisers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (torch.optim.AdamW, 8.0),  # two moments in fp32
        (lambda weights: torch.optim.AdamW(weights, fused=True), 8.0),
        (lambda weights: torch.optim.SGD(weights, lr=0.1), 0.0),
        (bitsandbytes.optim.AdamW8bit, 2 + 2 * 4 / 256),  # two moments in 8 bits, a scale in fp32 per 256 of them
        (torch.optim.Adafactor, 2 * 4 / 512),  # a row and a column for each 512 x 512
    ],
    ids=["AdamW", "fused AdamW", "SGD", "AdamW8bit", "Adafactor"],
)
def test_optimizer_state_is_measured(make: Callable[..., Any], expected: float) -> None:
    state, _ = optimizer_bytes(make, gpu=False)
    assert state == pytest.approx(expected, rel=0.01, abs=0.001)


def test_what_a_step_needs_beside_the_state() -> None:
    assert optimizer_bytes(torch.optim.AdamW, gpu=False)[1] == 0
    assert optimizer_bytes(torch.optim.AdamW, gpu=True)[1] == 4  # all weights at once
    assert optimizer_bytes(lambda weights: torch.optim.AdamW(weights, foreach=False), gpu=True)[1] == 0
    assert optimizer_bytes(lambda weights: torch.optim.AdamW(weights, fused=True), gpu=True)[1] == 0
    assert optimizer_bytes(bitsandbytes.optim.AdamW8bit, gpu=True)[1] == 0


# -- activations ---------------------------------------------------------------------------------------------------


def build(config: PreTrainedConfig, job: Job) -> Any:
    """A model as the job holds it; sharded ones as they compute: with gathered weights."""
    low = job.bf16 and (job.lora is not None or job.shards > 1)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16 if low else torch.float32)
    if job.checkpointing:
        checkpoint_activations(model)
    if job.lora is None:
        return model
    model = add_adapters(model, job.lora, "CAUSAL_LM")
    return model.to(torch.bfloat16) if job.bf16 and job.shards > 1 else model


def batch(job: Job) -> dict[str, Tensor]:
    """A micro-batch of the job; one response is a token shorter, so that attention needs a mask."""
    rows = job.groups * job.group_size
    mask = torch.ones(rows, job.response, dtype=torch.bool)
    mask[0, -1] = rows == 1
    return {
        "prompt_ids": torch.randint(0, 1000, (job.groups, job.prompt)).repeat_interleave(job.group_size, 0),
        "prompt_lengths": torch.full((rows,), job.prompt),
        "response_ids": torch.randint(0, 1000, (rows, job.response)),
        "response_mask": mask,
        "temperature": torch.ones(rows),
    }


def saved_by_autograd(model: nn.Module, job: Job) -> int:
    """Bytes that the forward pass keeps for the backward pass, each storage once, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}
    kept = []  # alive until the end, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=job.bf16),
    ):
        response_logprobs(model, batch(job))
    return sum(size for address, size in storages.items() if address not in parameters)


ROWS = {"shared": (2, 4, 20, 9), "one row": (1, 1, 60, 40), "plain rows": (3, 1, 60, 40)}


@pytest.mark.parametrize("shards", [1, 2], ids=["whole", "sharded"])
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("lora", [None, RANK_4], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_saved_activations_are_those_of_autograd(
    family: str, lora: Lora | None, checkpointing: bool, bf16: bool, shards: int
) -> None:
    for groups, group_size, prompt, response in ROWS.values():
        job = Job(
            shape_of(CONFIGS[family]),
            lora=lora,
            bf16=bf16,
            shards=shards,
            checkpointing=checkpointing,
            groups=groups,
            group_size=group_size,
            prompt=prompt,
            response=response,
        )
        estimated = saved_activations(job)
        if not checkpointing:  # recomputed layers cast their weights again
            estimated += autocast_bytes(job, head=False)
        assert estimated == pytest.approx(saved_by_autograd(build(CONFIGS[family], job), job), rel=0.03)


class Allocations(TorchDispatchMode):
    """Bytes of the tensors that are made while it is on, and the most that lived at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in given:
                self._add(leaf.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, storage: Any) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.live -= size


RESIDENT = ("base weights", "trained weights", "gradients", "optimizer state")


def passing(holders: dict[str, int]) -> int:
    """Bytes that are held during one phase only."""
    return sum(size for holder, size in holders.items() if holder not in RESIDENT)


@pytest.mark.parametrize(("lora", "checkpointing", "bf16"), [*product([None, RANK_4], [False, True], [False, True])])
def test_the_peak_of_training_is_near_the_estimate(lora: Lora | None, checkpointing: bool, bf16: bool) -> None:
    config = LlamaConfig(**{**SIZES, "num_hidden_layers": 8})
    job = Job(shape_of(config), lora=lora, checkpointing=checkpointing, bf16=bf16, groups=4, prompt=80, response=60)
    model = build(config, job)
    with Allocations() as allocations:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = response_logprobs(model, batch(job))[0].sum()
        loss.backward()
    assert passing(estimate(job)["training"]) == pytest.approx(allocations.peak, rel=0.25)


# -- sampling ------------------------------------------------------------------------------------------------------


class Builder:
    """Stands in for the builder of rollouts: nothing ends a response."""

    end_ids: frozenset[int] = frozenset()

    def __call__(self, *args: Any) -> None: ...


def sample(model: Any, job: Job, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Bytes of the engine's cache and of all its allocations, when they are largest."""
    engine, caches, sizes = TransformersEngine(), [], [0]
    engine.start(SimpleNamespace(model=model, tokenizer=tokenizer))  # type: ignore
    engine._build = Builder()  # type: ignore
    forward, make_cache = engine._forward, engine_module.growing_cache

    def kept(config: Any) -> Any:
        caches.append(make_cache(config))
        return caches[-1]

    def watched(*args: Any) -> Any:
        output = forward(*args)
        states = [states for layer in caches[-1].layers for states in (layer.keys, layer.values)]
        sizes.append(sum(state.untyped_storage().nbytes() for state in states))
        return output

    requests = [
        SampleRequest(str(i), i, tuple(range(i, job.prompt + i)), tuple(range(job.group_size)))
        for i in range(job.sampled // job.group_size)
    ]
    with monkeypatch.context() as patched:
        patched.setattr(engine, "_forward", watched)
        patched.setattr(engine_module, "growing_cache", kept)
        with Allocations() as allocations, torch.autocast("cpu", torch.bfloat16, enabled=job.bf16):
            list(engine.generate(requests, Sampling(n=job.group_size, max_new_tokens=job.sampled_tokens), 0))
    return max(sizes), allocations.peak


@pytest.mark.parametrize(("lora", "bf16"), [*product([None, RANK_4], [False, True])])
def test_the_cache_is_the_engines_and_the_peak_of_sampling_near_the_estimate(
    lora: Lora | None, bf16: bool, real_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tokenizer = LlamaConfig(**SIZES), load_tokenizer(real_model)
    for rows, n, prompt, response in [(32, 8, 20, 30), (8, 4, 30, 80), (2, 1, 9, 1)]:
        job = Job(shape_of(config), lora=lora, bf16=bf16, group_size=n, prompt=prompt)
        job = replace(job, sampled=rows, sampled_tokens=response)
        cache, peak = sample(build(config, job), job, tokenizer, monkeypatch)
        assert cache_bytes(job, rows) == cache
        if response > 1:
            assert passing(estimate(job)["sampling"]) == pytest.approx(peak, rel=0.3)


# -- whole runs ----------------------------------------------------------------------------------------------------


def nbytes(tensors: Any) -> int:
    """Bytes of tensors, each storage once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def held(module: nn.Module) -> dict[str, int]:
    """What a trained module and its optimiser really hold."""
    trained = [p for p in module.parameters() if p.requires_grad]
    frozen = [p for p in module.parameters() if not p.requires_grad]
    scales = [
        value
        for p in frozen
        for state in (getattr(p, "quant_state", None),)
        if state is not None
        for value in (state.absmax, state.state2.absmax)
    ]
    states = module.trainer.optimizers[0].state.values()  # type: ignore
    return {
        "base weights": nbytes(frozen) + nbytes(scales),
        "trained weights": nbytes(trained),
        "gradients": nbytes(p.grad for p in trained if p.grad is not None),
        "optimizer state": nbytes(v for state in states for v in state.values() if isinstance(v, Tensor)),
    }


def check_resident(arguments: list[str], tolerance: float) -> dict[str, int]:
    """Compare the estimate of a run with what the run holds at its end; returns the estimate."""
    found: list[Any] = []
    planned = _plan(parse(arguments[1:]), found)
    assert planned is not None, found
    holders = estimate(planned[0])["training"]
    for holder, size in held(main(arguments).model).items():
        assert holders.get(holder, 0) == pytest.approx(size, rel=tolerance), holder
    return holders


@pytest.mark.parametrize(
    ("flags", "tolerance"),
    [
        ((), 0.01),
        (("--trainer.precision=bf16-mixed",), 0.01),
        (("--model.init_args.lora=null",), 0.01),
        (("--model.init_args.lora=null", "--model.init_args.kl_coef=0.1"), 0.01),
        (("--model.init_args.lora={rank: 4, alpha: 8, nf4: true}",), 0.05),  # layers of 32 weights fill no block
    ],
    ids=["lora", "lora over bf16", "full", "full with a reference", "nf4"],
)
def test_a_policy_holds_what_was_estimated(policy_args, flags: tuple[str, ...], tolerance: float) -> None:
    holders = check_resident(policy_args("fit", *flags), tolerance)
    assert ("reference" in holders) == any("kl_coef" in flag for flag in flags)


def test_the_reference_is_a_whole_copy(policy_args) -> None:
    flags = ("--model.init_args.lora=null", "--model.init_args.kl_coef=0.1", "--trainer.precision=bf16-mixed")
    planned = _plan(parse(policy_args("fit", *flags)[1:]), [])
    assert planned
    [reference] = main(policy_args("fit", *flags)).model._reference
    assert estimate(planned[0])["training"]["reference"] == nbytes(reference.parameters())


@pytest.mark.parametrize("lora", ["null", "{rank: 4, alpha: 8}"])
def test_a_discriminator_holds_what_was_estimated(tmp_path: Path, tiny_model: str, lora: str) -> None:
    flags = (f"--model.init_args.lora={lora}", "--trainer.max_steps=1", "--model.init_args.layers=1")
    check_resident(discriminator_args(tmp_path, tiny_model, *flags), 0.01)


def test_a_7b_model_on_8_gpus_of_80_gb() -> None:
    # 64 prompts x 8 responses per window over 8 processes, in 2 updates of 8 micro-batches: a prompt each.
    # Trained weights 7.6e9 x 4 bytes / 8 = 3.55 GiB, as much of gradients, twice that for AdamW.
    job = Job(
        shape_of(QWEN_7B),
        bf16=True,
        shards=8,
        gpu=True,
        checkpointing=True,
        group_size=8,
        prompt=2048,
        response=4096,
        state_bytes=8,
        step_bytes=4,
        engine_bytes=32 * 10**9,  # vLLM takes 0.4 of the GPU
        scorer=(Shape(151936, 2560, 9728, 36, 32, 8, 128, tied=True, head_norms=True), None),  # Qwen3-4B
        scored=64,
        scored_tokens=4096,
    )
    phases = estimate(job)
    assert "loading" not in phases  # on the host
    training = phases["training"]
    assert training["trained weights"] / GIB == pytest.approx(3.55, abs=0.01)
    assert training["optimizer state"] == 2 * training["gradients"]
    # Embedding and head 2 x 152064 x 3584, two layers of 233e6, in bf16; and gradients of the same kind.
    assert 2.9 < training["gathered layers"] / GIB < 7
    # 28 inputs of layers, 8 x 6144 tokens x 3584 in bf16: 9.2 GiB; and the states at the end.
    assert 9.2 < training["activations"] / GIB < 12
    together = {phase: sum(holders.values()) / 1e9 for phase, holders in phases.items()}
    assert max(together, key=lambda phase: together[phase]) == "training"
    # With the discriminator (15 GiB) it does not fit at full lengths; without it, and with less for vLLM, it does.
    assert together["training"] > 80
    lighter = replace(job, scorer=None, engine_bytes=24 * 10**9)
    assert max(sum(holders.values()) for holders in estimate(lighter).values()) < 80e9
