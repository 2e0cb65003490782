"""How an update's time and memory grow: with the length of responses, their number, the vocabulary and the width.

Forward, loss and backward of one group, LoRA, bf16-mixed, on random models of four layers (of two for the lengths, of
which the longest would take 4 GB otherwise). Each point runs in a process of its own, with one thread, in rounds: a
round has every point once. Time is that of the CPU, the better of two updates; *extra* is the peak resident size less
what was resident before the first update, and so without the model. Medians of the rounds. Linux.

    python -m benchmarks.curves --output curves.json                  # about 20 minutes on an idle core
    python -m benchmarks.curves --only vocabulary --repeats 1
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

from benchmarks.advantages import spread
from benchmarks.logprobs import resident
from benchmarks.machine import describe
from benchmarks.random_models import save_random_model
from benchmarks.update_ours import batch_of
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule

BASE = {"length": 128, "group": 8, "vocabulary": 49_152, "width": 512, "layers": 4}
CURVES = {
    "length": (128, 256, 512, 1024, 2048, 4096, 8192),
    "group": (4, 8, 16, 32, 64),
    "vocabulary": (49_152, 98_304, 151_936),
    "width": (256, 512, 1024),
}
OWN = {"length": {"group": 2, "layers": 2}}
"""What differs from `BASE` in a curve."""
PROMPT = 256


def main(only: str = "", repeats: int = 3, output: str | None = None, point: str | None = None) -> None:
    """Measure points of each curve.

    Args:
        only: The curve to measure.
        repeats: Rounds.
        output: JSON file for what is found, with the machine and the command.
        point: Only print the figures of this point, in JSON.
    """
    if point:
        print(json.dumps(measure(**json.loads(point))))
        return
    names = [only] if only else [*CURVES]
    points = [(name, BASE | OWN.get(name, {}) | {name: value}) for name in names for value in CURVES[name]]
    rounds = [[in_fresh_process(sizes) for _, sizes in points] for _ in range(repeats)]
    rows = [summary(name, sizes, found) for (name, sizes), *found in zip(points, *rounds, strict=True)]
    for row in rows:
        print(line(row))
    if output:
        command = f"python -m benchmarks.curves {' '.join(sys.argv[1:])}"
        found = {"machine": describe() | {"threads": 1}, "command": command, "rows": rows}
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def in_fresh_process(sizes: dict[str, int]) -> dict[str, Any]:
    """The result of `measure`, which is also shown as it comes."""
    command = [sys.executable, "-m", "benchmarks.curves", f"--point={json.dumps(sizes)}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(sizes, found, file=sys.stderr, flush=True)
    return found


def summary(name: str, sizes: dict[str, int], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: median, least and most CPU seconds and extra bytes."""
    measured = {what: spread([found[what] for found in rounds]) for what in ("seconds", "extra")}
    return {"curve": name, **sizes, "tokens": rounds[0]["tokens"], **measured}


def line(row: dict[str, Any]) -> str:
    (seconds, *_), (extra, *_), tokens = row["seconds"], row["extra"], row["tokens"]
    each = f"{1e3 * seconds / tokens:.2f} ms and {extra / tokens / 1024:.0f} KiB per token of {tokens}"
    return f"{row['curve']:10} {row[row['curve']]:7}: {seconds:7.2f} s, {extra / 2**20:6.0f} MiB; {each}"


def measure(length: int, group: int, vocabulary: int, width: int, layers: int) -> dict[str, Any]:
    """Seconds and extra bytes of an update, and how many tokens the body reads in it."""
    torch.set_num_threads(1)
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
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
