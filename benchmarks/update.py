"""An update beside TRL's: forward, loss and backward of one group, same weights, same tokens, same advantages.

Each trainer is a process of its own; they take turns, a step each. A ratio is shown only where both compute the same
gradient: cosine at least 0.98 and norms within 3 %, as two computations in bf16 of the same function have them.

    pip install trl                                     # in an environment of its own that has torch and this package
    python -m benchmarks.update --model models/SmolLM2-135M-Instruct
    python -m benchmarks.update --peer_python /elsewhere/bin/python --output update.json

On a CPU each has one thread, and the time is that of the CPU. TRL's loss on a CPU is its plain one: its Triton kernels
and flash attention are for GPUs.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from benchmarks.machine import describe

COSINE, NORM = 0.98, 0.03


class Work(NamedTuple):
    """One group: ``responses`` of ``low`` to ``high`` tokens to a prompt of ``prompt``."""

    name: str
    prompt: int
    low: int
    high: int
    lora: bool
    responses: int = 8


ON_A_CPU = (
    Work("B1 LoRA, prompt 100, 40-220", 100, 40, 220, True),
    Work("B2 LoRA, prompt 300, 40-220", 300, 40, 220, True),
    Work("B3 all weights, prompt 100, 40-220", 100, 40, 220, False),
    Work("B3 all weights, prompt 300, 40-220", 300, 40, 220, False),
    Work("B4 LoRA, prompt 20, all of 128", 20, 128, 128, True),
)
SHAPES = ((100, 40, 220), (300, 40, 220), (1000, 40, 220), (300, 100, 400), (300, 200, 2000))
ON_A_GPU = tuple(
    Work(f"G1 {'LoRA' if lora else 'all weights'}, prompt {prompt}, {low}-{high}", prompt, low, high, lora)
    for lora in (True, False)
    for prompt, low, high in SHAPES
)


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    peer_python: str = sys.executable,
    repeats: int = 5,
    only: str = "",
    output: str | None = None,
) -> None:
    """Time updates, ours and TRL's in turn.

    Args:
        model: Folder of the model.
        peer_python: Interpreter that has TRL, and the packages of this project.
        repeats: Steps of each that count, after one that does not.
        only: Work whose name begins so.
        output: JSON file for what is printed.
    """
    chosen = [work for work in (ON_A_GPU if torch.cuda.is_available() else ON_A_CPU) if work.name.startswith(only)]
    rows = []
    for work in chosen:
        rows.append(compare(work, model, peer_python, repeats))
        print(line(rows[-1]), flush=True)
    found = {"machine": describe(), "repeats": repeats, "rows": rows}
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if all(row["same"] for row in rows) else 1)


def compare(work: Work, model: str, peer_python: str, repeats: int) -> dict[str, Any]:
    """A row: seconds and peak memory of both, and the ratios of steps that followed each other."""
    with TemporaryDirectory() as folder:
        torch.save(group(work), Path(folder, "work.pt"))
        arguments = [folder, model, "lora" if work.lora else "full", str(repeats + 1)]
        # Ours begins: it leaves its adapters, which TRL starts from.
        with (
            worker(sys.executable, "benchmarks.update_ours", arguments) as ours,
            worker(peer_python, "benchmarks.update_trl", arguments) as theirs,
        ):
            steps = [(step(ours), step(theirs)) for _ in range(repeats + 1)]
        gradients = [torch.load(Path(folder, f"{name}.pt")) for name in ("ours", "trl")]
    cosine, norm = agreement(*gradients)
    row: dict[str, Any] = work._asdict() | {"cosine": cosine, "norm": norm}
    row["same"] = cosine >= COSINE and abs(norm - 1) <= NORM
    for name, side in zip(("ours", "trl"), zip(*steps, strict=True), strict=True):
        row[name] = {"seconds": [each["seconds"] for each in side[1:]], "peak GiB": side[-1]["gib"]}
    ratios = [b["seconds"] / a["seconds"] for a, b in steps[1:]]
    row["ratio"] = [median(ratios), min(ratios), max(ratios)]
    return row


def line(row: dict[str, Any]) -> str:
    if not row["same"]:
        return f"{row['name']:36} no ratio: gradients differ, cosine {row['cosine']:.4f}, norm {row['norm']:.3f} x"
    ours, trl = (median(row[name]["seconds"]) for name in ("ours", "trl"))
    memory = f"{row['ours']['peak GiB']:.2f} / {row['trl']['peak GiB']:.2f} GiB"
    middle, least, most = row["ratio"]
    times = f"{ours:.2f} / {trl:.2f} s: {middle:.2f} x ({least:.2f}-{most:.2f})"
    return f"{row['name']:36} {times}, {memory}, cosine {row['cosine']:.4f}"


def group(work: Work) -> dict[str, Any]:
    """Random tokens; the first response is the longest; rewards of 0, 1 and 2."""
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(100, 49_000, (count,), generator=generator).tolist()

    lengths = torch.randint(work.low, work.high + 1, (work.responses,), generator=generator).tolist()
    rewards = torch.arange(work.responses) % 3 * 1.0
    return {
        "prompt": tokens(work.prompt),
        "responses": [tokens(length) for length in [work.high, *lengths[1:]]],
        "rewards": rewards.tolist(),
        "advantages": (rewards - rewards.mean()) / (rewards.std() + 1e-4),  # TRL's
    }


@contextmanager
def worker(python: str, module: str, arguments: list[str]) -> Iterator[Any]:
    """A process that makes a step for each line that it is given; it is ready when this returns."""
    command = [python, "-m", module, *arguments]
    with (
        Path(arguments[0], f"{module}.log").open("w+") as log,
        subprocess.Popen(command, stdin=-1, stdout=-1, stderr=log, text=True) as process,
    ):
        try:
            answer(process)
            yield process
        except EOFError:
            process.wait()
            log.seek(0)
            raise SystemExit(f"{module} ended early:\n{log.read()[-2000:]}") from None
        process.communicate()


def answer(process: Any) -> dict[str, Any]:
    """The next line of JSON among what a process prints."""
    for printed in process.stdout:
        if printed.startswith('{"'):
            return json.loads(printed)
    raise EOFError


def step(process: Any) -> dict[str, Any]:
    process.stdin.write("\n")
    process.stdin.flush()
    return answer(process)


def clock() -> float:
    """Of the CPU, where that computes."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def agreement(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Cosine of two gradients, and the norm of the first as a multiple of the second's.

    Raises:
        ValueError: If they are not of the same weights.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"gradients of different weights: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    dot, one, other = (
        sum(float((a[name].double() * b[name].double()).sum()) for name in ours)
        for a, b in ((ours, theirs), (ours, ours), (theirs, theirs))
    )
    return dot / (one * other) ** 0.5, (one / other) ** 0.5


if __name__ == "__main__":
    from jsonargparse import auto_cli  # not on every machine with a GPU

    auto_cli(main)
