"""Speed of the embedded engine against `generate` of `transformers`, and what each of its two shortcuts is worth.

All variants sample the same number of tokens from the same prompts and take turns in one process; each repeat gives one
ratio to ours. No response ends early.

    python benchmarks/sampling.py                   # 4 prompts x 8 responses x 48 tokens; about 3 minutes
    python benchmarks/sampling.py --responses 32 --tokens 128
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from transformers import DynamicCache

from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.engines import SampleRequest, Sampling, TransformersEngine
from rtt_lightning.engines.embedded import engine as embedded
from rtt_lightning.lm.loading import Lora
from rtt_lightning.lm.tokenizers import render_prompt
from rtt_lightning.modules import PolicyModule

TEMPERATURE = 0.8


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--responses", type=int, default=8, help="per prompt")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(arguments)
    variants = make_variants(args)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(args.repeats + 1):  # the first warms up
        for name in sorted(variants, reverse=bool(repeat % 2)):
            start = time.perf_counter()
            variants[name]()
            seconds[name].append(time.perf_counter() - start)
    tokens = args.prompts * args.responses * args.tokens
    print(f"{tokens} tokens in {args.prompts * args.responses} responses, {torch.get_num_threads()} threads, fp32")
    for name, values in seconds.items():
        ratios = [value / ours for value, ours in zip(values[1:], seconds["ours"][1:], strict=True)]
        print(
            f"{name:28} {statistics.median(values[1:]):6.2f} s, {statistics.median(ratios):.2f} times ours "
            f"({min(ratios):.2f}-{max(ratios):.2f})"
        )


def make_variants(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Functions that sample all responses once."""
    policy = PolicyModule(args.model, lora=Lora())
    policy.configure_model()
    prompts = [
        render_prompt(policy.tokenizer, sample.messages)
        for sample in sample_prompts(args.prompts, seed=0, kinds=TRAIN_KINDS)
    ]
    engine = TransformersEngine(batch_size=args.prompts * args.responses)
    engine.start(policy)
    engine._build.end_ids = frozenset()  # no response ends early
    sampling = Sampling(n=args.responses, max_new_tokens=args.tokens, temperature=TEMPERATURE)
    requests = [SampleRequest(str(i), i, ids, tuple(range(args.responses))) for i, ids in enumerate(prompts)]
    left = policy.tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, padding_side="left", return_tensors="pt")

    def ours() -> None:
        assert sum(len(row.response_ids) for row in engine.generate(requests, sampling, 0)) == (
            len(prompts) * args.responses * args.tokens
        )

    def copied_keys() -> None:
        with patch.object(policy.model.config, "_attn_implementation", "sdpa"):
            ours()

    def concatenated_cache() -> None:
        with patch.object(embedded, "growing_cache", lambda config: DynamicCache(config=config)):
            ours()

    def generate() -> None:
        with torch.no_grad(), policy.model.disable_adapter():
            policy.model.generate(
                **left,
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                top_p=1.0,
                num_return_sequences=args.responses,
                min_new_tokens=args.tokens,
                max_new_tokens=args.tokens,
            )

    return {
        "ours": ours,
        "ours, keys copied": copied_keys,
        "ours, cache concatenated": concatenated_cache,
        "generate, without adapters": generate,
    }


if __name__ == "__main__":
    main()
