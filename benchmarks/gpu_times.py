"""Milliseconds and peak memory of the parts that a GPU is bought for. Medians of five, after two that do not count."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Trainer

from rtt_lightning.engines import SampleRequest, Sampling, TransformersEngine
from rtt_lightning.functional.advantages import inter_sample, intra_sample
from rtt_lightning.functional.logprobs import token_logprobs
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.source import GPU_TOKENS, relevance_of
from rtt_lightning.types import Experience

GROUP = 8
RESPONSES = ((40, 220), (100, 400))
PROMPT = 300
WARM_UP, REPETITIONS = 2, 5
GIB = 2**30

Row = dict[str, Any]


def times(model: str) -> list[Row]:
    """Everything that is timed, on the current GPU.

    Args:
        model: Folder of a policy.
    """
    rows = [_timed("matmul 8192^3, bf16", _matmul())]
    for name, lora in (("LoRA", Lora()), ("all weights", None)):
        policy = _policy(model, lora)
        for low, high in RESPONSES:
            what = f"update, {name}: prompt {PROMPT}, {GROUP} responses of {low} to {high}"
            rows.append(_timed(what, _update(policy, low, high)))
        if lora:
            rows.append(_timed("sampling, LoRA: 64 responses of 64 tokens", _sampling(policy)))
        del policy
        torch.cuda.empty_cache()
    rows += [_timed(f"head, weight {name}", _head(name == "trained")) for name in ("frozen", "trained")]
    rows += [_timed(f"{f.__name__} 512 x 5 x 1090", _advantages(f)) for f in (intra_sample, inter_sample)]
    rows.append(_timed("scoring 320 pairs of about 900 tokens, 14 layers", _scoring(model)))
    return rows


def _timed(what: str, work: Callable[[], object]) -> Row:
    seconds = []
    for repetition in range(WARM_UP + REPETITIONS):
        if repetition == WARM_UP:
            torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    kept = [1000 * second for second in seconds[WARM_UP:]]
    row = {"what": what, "milliseconds": median(kept), "least": min(kept), "most": max(kept)}
    return row | {"peak GiB": torch.cuda.max_memory_allocated() / GIB}


def _matmul() -> Callable[[], object]:
    a, b = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    return lambda: a @ b


def _policy(model: str, lora: Lora | None) -> PolicyModule:
    torch.manual_seed(0)
    policy = PolicyModule(model, lora=lora)
    policy.trainer = Trainer(accelerator="gpu", devices=1, precision="bf16-mixed", logger=False)
    policy.configure_model()
    return policy.cuda().train()


def _update(policy: PolicyModule, low: int, high: int) -> Callable[[], object]:
    """Forward, loss and backward of one group in one micro-batch."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(low, high + 1, (GROUP,), generator=generator)
    lengths[0] = high
    mask = torch.arange(high) < lengths[:, None]
    advantages = torch.randn(GROUP, generator=generator)[:, None] * mask
    batch = {
        "prompt_ids": torch.randint(0, 50_000, (PROMPT,), generator=generator).repeat(GROUP, 1),
        "prompt_lengths": torch.full((GROUP,), PROMPT),
        "response_ids": torch.randint(0, 50_000, (GROUP, high), generator=generator) * mask,
        "response_mask": mask,
        "temperature": torch.ones(GROUP),
        "advantages": advantages,
        "sampler_logprobs": torch.full(mask.shape, torch.nan),
        "update_tokens": mask.sum(),
    }
    batch = {name: value.cuda() for name, value in batch.items()} | {"micro_batches": 1, "last_of_update": False}

    def update() -> None:
        policy.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = policy.training_step(batch, 0)
        loss.backward()

    return update


def _sampling(policy: PolicyModule) -> Callable[[], object]:
    engine = TransformersEngine()
    engine.start(policy)
    requests = [
        SampleRequest(str(group), group, tuple(range(group, group + PROMPT)), tuple(range(GROUP))) for group in range(8)
    ]

    def sample() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            list(engine.generate(requests, Sampling(n=GROUP, max_new_tokens=64), 0))

    return sample


def _head(trained: bool, rows: int = 8192, hidden: int = 1024, vocabulary: int = 151_936) -> Callable[[], object]:
    """Log-probs of the head alone, forward and backward."""
    states = torch.randn(rows, hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = (0.02 * torch.randn(vocabulary, hidden, device="cuda")).bfloat16().requires_grad_(trained)
    targets, temperature = torch.randint(0, vocabulary, (rows,), device="cuda"), torch.ones(rows, device="cuda")

    def head() -> None:
        states.grad = weight.grad = None
        token_logprobs(states, weight, targets, temperature)[0].sum().backward()

    return head


def _advantages(partition: Any, batch: int = 512, rubric: int = 5, token: int = 1090) -> Callable[[], object]:
    with torch.device("cuda"):
        experience = Experience.by_hand(
            met=torch.rand(batch, rubric) < 0.5,
            relevance=torch.rand(batch, rubric, token),
            group_ids=torch.arange(batch) // GROUP,
            response_mask=torch.arange(token) < torch.randint(token // 10, token + 1, (batch, 1)),
        )
    return lambda: partition(experience, 0.0)


def _scoring(model: str) -> Callable[[], object]:
    network = build(RelevanceConfig(model, layers=14)).cuda().eval()
    lengths = torch.randint(200, 1500, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    criteria = [f"Mention tea {k} times." for k in range(5)]
    answers = [("tea " * length)[:length] for length in lengths]
    texts = [((criterion,), answer) for answer in answers for criterion in criteria]

    def scoring() -> object:
        with torch.autocast("cuda", torch.bfloat16):
            return relevance_of(network, network.encode(texts), GPU_TOKENS)

    return scoring
