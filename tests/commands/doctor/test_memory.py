"""Memory measured without numbers, beside what real networks, optimisers, engines and runs take."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import bitsandbytes
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from rtt_lightning.commands.doctor.dry_run import _plan, parse
from rtt_lightning.commands.doctor.imagined import Allocations, imagine, imagined
from rtt_lightning.commands.doctor.measure import (
    Rows,
    in_bf16,
    longest_micro_batch,
    optimizer_bytes,
    policy_forward,
    sampling_memory,
    training_memory,
)
from rtt_lightning.commands.doctor.plans import estimate_memory
from rtt_lightning.commands.run import main
from rtt_lightning.engines.base import SampleRequest, Sampling
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.lm.loading import Lora, add_adapters, checkpoint_activations
from rtt_lightning.lm.tokenizers import load_tokenizer
from tests.families import FAMILIES, SIZES
from tests.modules.test_discriminator import discriminator_args

RANK_4 = Lora(rank=4, alpha=8)
SHARED, PLAIN = Rows(2, 4, 20, 9), Rows(3, 1, 60, 40)
"""Micro-batches whose responses share the computation of their prompt, and do not."""


def build(family: str, lora: Lora | None, checkpointing: bool = False, bf16: bool = False) -> Any:
    """A network as a policy holds it, on the device that is the default."""
    config = AutoConfig.for_model(family, **SIZES | {"vocab_size": 1009} | FAMILIES.get(family, {}))
    dtype = torch.bfloat16 if bf16 and lora else torch.float32
    network = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    if checkpointing:
        checkpoint_activations(network)
    return network if lora is None else add_adapters(network, lora, "CAUSAL_LM")


@pytest.mark.parametrize(
    ("parts", "budget", "expected"),
    [
        (4, None, Rows(2, 3, 10, 20)),  # 8 prompts in 4 micro-batches
        (16, None, Rows(1, 3, 10, 20)),
        (8, 1000, Rows(8, 3, 10, 20)),  # all 560 tokens in one
        (8, 150, Rows(3, 2, 10, 20)),  # 2 prompts of 70 tokens at their longest; or 3 with fewer
        (16, 60, Rows(1, 3, 10, 16)),  # two of three responses at their longest, or three of 16
        (11, 60, Rows(1, 3, 10, 20)),  # 8 parts of 2 responses, and 8 of one, of which 60 tokens hold two
        (24, 25, Rows(1, 1, 10, 20)),  # each response alone exceeds it
    ],
)
def test_the_longest_micro_batch_follows_the_budget(parts: int, budget: int | None, expected: Rows) -> None:
    """Of an update of 8 prompts of 10 tokens, with 3 responses of up to 20 tokens to each."""
    assert longest_micro_batch(Rows(8, 3, 10, 20), parts, budget) == expected


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("lora", [None, RANK_4], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma", "gpt2", "qwen3_moe"])
def test_a_training_step_takes_what_it_takes_with_numbers(
    family: str, lora: Lora | None, checkpointing: bool, bf16: bool
) -> None:
    for rows, accumulates in ((SHARED, True), (PLAIN, False)):
        found = []
        for device in ("cpu", "meta"):
            with torch.device(device):
                network = build(family, lora, checkpointing, bf16)
            forward, *_ = policy_forward(network, rows)
            fake = device == "meta"
            with imagined() if fake else Allocations([*network.parameters(), *network.buffers()]) as memory:
                if fake:
                    imagine(network)
                found.append(training_memory(network, forward, memory, bf16, accumulates))
        assert found[1] == pytest.approx(found[0], rel=0.02)


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("lora", [None, RANK_4], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_sampling_takes_what_the_engine_takes(family: str, lora: Lora | None, bf16: bool, real_model: str) -> None:
    # The cache has just grown: by 65 tokens, or twice.
    for rows, several in ((Rows(4, 8, 20, 67), 30), (Rows(2, 4, 30, 132), 8)):
        settings = Sampling(n=rows.n, max_new_tokens=rows.response, top_p=0.9)
        network, engine = build(family, lora, bf16=bf16), TransformersEngine(several)
        engine.start(SimpleNamespace(model=network, tokenizer=load_tokenizer(real_model)))  # type: ignore
        engine._build = Mock(end_ids=frozenset())  # nothing ends a response
        prompts = [tuple(range(i, rows.prompt + i)) for i in range(rows.groups)]
        requests = [SampleRequest(str(i), i, prompt, tuple(range(rows.n))) for i, prompt in enumerate(prompts)]
        with Allocations([*network.parameters(), *network.buffers()]) as real, in_bf16(bf16):
            list(engine.generate(requests, settings, 0))
        with torch.device("meta"):
            network = build(family, lora, bf16=bf16)
        with imagined() as memory:
            imagine(network)
            holders = sampling_memory(network, rows, several, settings, memory, bf16, merges=True, packs=True)
        assert sum(holders.values()) == pytest.approx(real.peak, rel=0.05)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (torch.optim.AdamW, 8.0),  # two moments in fp32
        (lambda weights: torch.optim.SGD(weights, lr=0.1), 0.0),
        (bitsandbytes.optim.AdamW8bit, 2 + 2 * 4 / 256),  # two moments in 8 bits, a scale in fp32 per 256 of them
        (torch.optim.Adafactor, 2 * 4 / 512),  # a row and a column for each 512 x 512
    ],
    ids=["AdamW", "SGD", "AdamW8bit", "Adafactor"],
)
def test_optimizer_state_is_measured(make: Any, expected: float) -> None:
    assert optimizer_bytes(make, gpu=False)[0] == pytest.approx(expected, rel=0.01, abs=0.001)


def test_what_a_step_needs_beside_the_state() -> None:
    assert optimizer_bytes(torch.optim.AdamW, gpu=True)[1:] == (pytest.approx(4, abs=0.01), True)  # all weights at once
    assert not optimizer_bytes(lambda weights: torch.optim.AdamW(weights, foreach=False), gpu=True)[2]
    assert optimizer_bytes(lambda weights: torch.optim.AdamW(weights, fused=True), gpu=True)[1:] == (0, False)


def nbytes(tensors: Any) -> int:
    """Bytes of tensors, each storage once."""
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def held(module: nn.Module) -> dict[str, int]:
    """What a trained module and its optimiser really hold."""
    trained = [p for p in module.parameters() if p.requires_grad]
    frozen = [p for p in module.parameters() if not p.requires_grad]
    quantised = [state for p in frozen if (state := getattr(p, "quant_state", None)) is not None]
    scales = [scale for state in quantised for scale in (state.absmax, state.state2.absmax)]
    states = module.trainer.optimizers[0].state.values()  # type: ignore
    return {
        "base weights": nbytes(frozen) + nbytes(scales),
        "trained weights": nbytes(trained),
        "gradients": nbytes(p.grad for p in trained if p.grad is not None),
        "optimizer state": nbytes(v for state in states for v in state.values() if isinstance(v, Tensor)),
        "reference": nbytes(p for model in getattr(module, "_reference", ()) for p in model.parameters()),
    }


def check_resident(arguments: list[str], tolerance: float = 0.01) -> None:
    """Compare the estimate of a run with what the run holds at its end."""
    found: list[Any] = []
    planned = _plan(parse(arguments[1:]), found)
    assert planned is not None, found
    phases = estimate_memory(*planned).phases
    for holder, size in held(main(arguments).model).items():
        assert phases["training"].get(holder, 0) == pytest.approx(size, rel=tolerance), holder


FULL, BF16 = ("--model.init_args.lora=null", "--model.init_args.kl_coef=0.1"), "--trainer.precision=bf16-mixed"
NF4 = "--model.init_args.lora={rank: 4, alpha: 8, nf4: true}"


@pytest.mark.parametrize("flags", [(), (BF16,), FULL, (*FULL, BF16), (NF4,)], ids=str)
def test_a_policy_holds_what_was_estimated(policy_args: Any, flags: tuple[str, ...]) -> None:
    check_resident(policy_args("fit", *flags), 0.05 if NF4 in flags else 0.01)  # layers of 32 weights fill no block


@pytest.mark.parametrize("lora", ["null", "{rank: 4, alpha: 8}"])
def test_a_discriminator_holds_what_was_estimated(tmp_path: Path, tiny_model: str, lora: str) -> None:
    flags = (f"--model.init_args.lora={lora}", "--trainer.max_steps=1", "--model.init_args.layers=1")
    check_resident(discriminator_args(tmp_path, tiny_model, *flags))
