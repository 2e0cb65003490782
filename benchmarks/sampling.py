"""Speed of the embedded engine beside `generate` of `transformers` and, where it is installed, vLLM.

All sample as many tokens from the same weights and prompts, and take turns; each repeat gives one ratio. No response
ends early. On a CPU each has one thread, and the time is that of the CPU; vLLM is a process of its own.

    python -m benchmarks.sampling                        # 8 prompts x 8 responses x 64 tokens, fp32; about 8 minutes
    python -m benchmarks.sampling --dtype bfloat16       # a base in bf16, as a run in bf16-mixed has it
    python -m benchmarks.sampling --prompts 4 --tokens 48 --output sampling.json

In fp32 the tokens must be those of the plain way but for rounding: the same seeds draw from the logits of a forward
pass over a whole row, alone, without any cache.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from jsonargparse import auto_cli

from benchmarks.machine import describe
from benchmarks.update import clock, step, worker
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.engines import RolloutEngine, SampleRequest, Sampling, TransformersEngine
from rtt_lightning.engines.embedded import engine as embedded
from rtt_lightning.lm.loading import Lora
from rtt_lightning.lm.tokenizers import render_prompt
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Rollout

TEMPERATURE = 0.8
ROUNDING = 1e-5
"""Of the cumulative distribution: how far from a token its draw may be."""
TARGETS = {"generate": 2.0, "vLLM": 0.7}
"""How many times as fast as each the engine is meant to be."""


class Work(NamedTuple):
    """What is sampled: ``responses`` of ``tokens`` to each prompt, from weights in ``dtype``."""

    model: str
    prompts: int
    responses: int
    tokens: int
    dtype: str

    @property
    def sampling(self) -> Sampling:
        return Sampling(n=self.responses, max_new_tokens=self.tokens, temperature=TEMPERATURE)


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    prompts: int = 8,
    responses: int = 8,
    tokens: int = 64,
    dtype: Literal["float32", "bfloat16"] = "float32",
    repeats: int = 5,
    vllm: bool = find_spec("vllm") is not None,
    output: str | None = None,
) -> None:
    """Time sampling, ours and that of others in turn.

    Args:
        model: Folder of the model.
        prompts: How many.
        responses: Per prompt.
        tokens: Per response.
        dtype: Of the weights.
        repeats: Runs of each that count, after one that does not.
        vllm: Sample with vLLM too.
        output: JSON file for what is printed.
    """
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    work = Work(model, prompts, responses, tokens, dtype)
    policy, requests = prepare(work)
    engine = TransformersEngine(batch_size=prompts * responses)
    engine.start(policy)
    endless(engine)
    rows = sampled(engine, requests, work)
    others = differing(policy, rows, requests, work) if dtype == "float32" else None
    peers: dict[str, Callable[[], float]] = {
        "ours": lambda: timed(lambda: sampled(engine, requests, work)),
        "generate": lambda: timed(lambda: generate(policy, requests, work)),
    }
    with TemporaryDirectory() as folder:
        Path(folder, "work.json").write_text(json.dumps(work))
        with worker(sys.executable, "benchmarks.sampling_vllm", [folder]) if vllm else nullcontext() as process:
            if process:
                peers["vLLM"] = lambda: step(process)["seconds"]
            runs = [one_of_each(peers) for _ in range(repeats + 1)][1:]
    found = {
        "machine": describe(),
        "work": work._asdict(),
        "tokens that differ from the plain way": others,
        "seconds": runs,
    }
    report(found, work)
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if others and max(others) > ROUNDING else 0)


def one_of_each(peers: dict[str, Callable[[], float]]) -> dict[str, float]:
    seconds = {name: peer() for name, peer in peers.items()}
    print(json.dumps(seconds), file=sys.stderr, flush=True)
    return seconds


def report(found: dict[str, Any], work: Work) -> None:
    runs = found["seconds"]
    others = found["tokens that differ from the plain way"]
    print(
        f"{work.prompts} x {work.responses} x {work.tokens} tokens, {work.dtype}; draws that rounding moved: {others}"
    )
    for name in runs[0]:
        ratios = [run[name] / run["ours"] for run in runs]
        spread = f"{median(run[name] for run in runs):6.2f} s, {median(ratios):.2f} x ours"
        target = f", target {TARGETS[name]}" if name in TARGETS else ""
        print(f"{name:10}{spread} ({min(ratios):.2f}-{max(ratios):.2f}){target}")


def prepare(work: Work) -> tuple[PolicyModule, list[SampleRequest]]:
    """The policy, with adapters that add nothing yet, and what is asked of it."""
    policy = PolicyModule(work.model, lora=Lora())
    policy.configure_model()
    for parameter in policy.model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, work.dtype))
    if torch.cuda.is_available():
        policy.cuda()
    samples = sample_prompts(work.prompts, seed=0, kinds=TRAIN_KINDS)
    prompts = [render_prompt(policy.tokenizer, sample.messages) for sample in samples]
    seeds = range(work.responses * work.prompts)
    return policy, [
        SampleRequest(str(i), i, ids, tuple(seeds[i * work.responses : (i + 1) * work.responses]))
        for i, ids in enumerate(prompts)
    ]


def endless(engine: Any) -> None:
    """No token ends a response."""
    engine._build.end_ids = frozenset()


def timed(sample: Callable[[], object]) -> float:
    start = clock()
    sample()
    return clock() - start


def sampled(engine: RolloutEngine, requests: list[SampleRequest], work: Work) -> list[Rollout]:
    """All responses in order; in bf16 as the trainer computes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.autocast(device, torch.bfloat16, enabled=work.dtype == "bfloat16"):
        rows = sorted(engine.generate(requests, work.sampling, 0), key=lambda row: (row.group_id, row.sample_index))
    assert [len(row.response_ids) for row in rows] == [work.tokens] * (work.prompts * work.responses)
    return rows


@contextmanager
def plain_attention(policy: PolicyModule) -> Iterator[None]:
    """That of `transformers`."""
    config = policy.model.config
    own, config._attn_implementation = config._attn_implementation, "sdpa"
    yield
    config._attn_implementation = own


@torch.no_grad()
def generate(policy: PolicyModule, requests: list[SampleRequest], work: Work) -> None:
    rows = {"input_ids": [list(request.prompt_ids) for request in requests]}
    left = policy.tokenizer.pad(rows, padding_side="left", return_tensors="pt").to(policy.model.device)
    with policy.model.disable_adapter(), plain_attention(policy):
        policy.model.generate(
            **left,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            top_p=1.0,
            num_return_sequences=work.responses,
            min_new_tokens=work.tokens,
            max_new_tokens=work.tokens,
        )


@torch.no_grad()
def differing(policy: PolicyModule, rows: list[Rollout], requests: list[SampleRequest], work: Work) -> list[float]:
    """Tokens that are not what their seed draws from a forward pass over the whole row, alone: how far their share of
    the cumulative distribution is from what was drawn. Rounding moves one in thousands, by less than `ROUNDING`.
    """
    found: list[float] = []
    for row in rows:
        ids = torch.tensor([[*row.prompt_ids, *row.response_ids]], device=policy.model.device)
        with plain_attention(policy):
            logits = policy.model(ids[:, :-1], use_cache=False, logits_to_keep=work.tokens).logits[0]
        uniforms = embedded._uniforms(requests[row.group_id].seeds[row.sample_index], work.tokens).to(ids.device)
        tokens = ids[0, -work.tokens :, None]
        other = embedded.draw(logits, uniforms, work.sampling)[0] != tokens[:, 0]
        ends = (logits.double() / TEMPERATURE).softmax(-1).cumsum(-1)
        above, below = ends.gather(-1, tokens)[:, 0], ends.gather(-1, (tokens - 1).clamp(min=0))[:, 0]
        found += torch.maximum(uniforms - above, below - uniforms)[other].tolist()
    return found


if __name__ == "__main__":
    auto_cli(main)
