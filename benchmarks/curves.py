"""How an update's time and memory grow: with the length of responses, their number, the vocabulary and the width.

Forward, loss and backward of one group, LoRA, bf16-mixed, on random models of four layers; each point runs in a process
of its own, with one thread. Time is that of the CPU, the better of two updates; *extra* is the peak resident size less
what was resident before the first update. Linux.

    python -m benchmarks.curves                    # about 15 minutes
    python -m benchmarks.curves --only length --output curves.json
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Trainer

from benchmarks.logprobs import resident
from benchmarks.machine import describe
from benchmarks.random_models import save_random_model
from benchmarks.update_ours import batch_of
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule

BASE = {"length": 128, "group": 8, "vocabulary": 49_152, "width": 512}
CURVES = {
    "length": (128, 256, 512, 1024, 2048, 4096, 8192),
    "group": (4, 8, 16, 32, 64),
    "vocabulary": (49_152, 98_304, 151_936),
    "width": (256, 512, 1024),
}
PROMPT = 256


def main(only: str = "", output: str | None = None, point: str | None = None) -> None:
    """Measure points of each curve.

    Args:
        only: The curve to measure.
        output: JSON file for what is printed.
        point: Only print the figures of this point, in JSON.
    """
    if point:
        print(json.dumps(measure(**json.loads(point))))
        return
    rows = []
    for name in [only] if only else CURVES:
        for value in CURVES[name]:
            sizes = BASE | {name: value} | ({"group": 2} if name == "length" else {})
            command = [sys.executable, "-m", "benchmarks.curves", f"--point={json.dumps(sizes)}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"curve": name, **sizes, **json.loads(done.stdout.splitlines()[-1])})
            last = rows[-1]
            per_token = (
                f"{1e3 * last['seconds'] / last['tokens']:.2f} ms and {last['extra'] / last['tokens'] / 1024:.0f}"
            )
            print(f"{name:10} {value:7}: {last['seconds']:7.2f} s, {last['extra'] / 2**20:6.0f} MiB; ", end="")
            print(f"{per_token} KiB per token of {last['tokens']}", flush=True)
    if output:
        Path(output).write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")


def measure(length: int, group: int, vocabulary: int, width: int) -> dict[str, Any]:
    """Seconds and extra bytes of an update, and how many tokens the body reads in it."""
    torch.set_num_threads(1)
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": 4,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 128,
        "head_dim": 64,
    }
    with TemporaryDirectory() as folder:
        policy = PolicyModule(save_random_model(Path(folder), shape), lora=Lora())
        policy.trainer = Trainer(accelerator="cpu", precision="bf16-mixed", logger=False)
        policy.configure_model()
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 1000, (group + 1, max(length, PROMPT)), generator=generator)
    advantages = torch.randn(group, generator=generator)
    responses = rows[1:, :length].tolist()
    batch: Any = batch_of({"prompt": rows[0, :PROMPT].tolist(), "responses": responses, "advantages": advantages})
    with policy.trainer.precision_plugin.train_step_context():
        policy._logprobs.shares()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    seconds = []
    for _ in range(2):
        policy.zero_grad(set_to_none=True)
        start = time.process_time()
        with policy.trainer.precision_plugin.train_step_context():
            loss = policy.training_step(batch, 0)
        loss.backward()
        seconds.append(time.process_time() - start)
    return {"seconds": min(seconds), "extra": resident("VmHWM") - before, "tokens": PROMPT + group * length}


if __name__ == "__main__":
    auto_cli(main)
