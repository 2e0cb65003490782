"""The head: `token_logprobs` beside the plain way, and beside TRL's tiles where TRL is installed; forward and backward.

Plain: ``hidden @ weight.T``, to fp32, divided by the temperature, ``log_softmax``, gather. All give log-probs and
entropies. Time: they take turns in one process with one thread, CPU time; each repeat gives a ratio to ours. Memory:
each runs once in a process of its own; *extra* is its peak resident size less what was resident with hidden states and
weight in place, less the bytes of the gradients. *Of peak*: the time that the necessary matrix products (two with a
frozen weight, as under LoRA, else three) take at the speed of a large one, as a share of ours. Linux.

    python -m benchmarks.logprobs            # 1,249 tokens x 49,152 words, hidden 576, bf16, frozen; a minute or two
    python -m benchmarks.logprobs --trained true --vocabulary 151936 --output head.json

A ratio is shown only where values agree, to 0.1 nats in bf16 and 1e-3 in fp32 at the mean, and gradients by a cosine of
0.999.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from torch import Tensor

from benchmarks.machine import describe
from rtt_lightning.functional.logprobs import token_logprobs

Head = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """The usual way: every logit at once."""
    log_p = ((hidden @ weight.T).float() / temperature[:, None]).log_softmax(-1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.detach().exp() * log_p.detach()).sum(-1)


def trl(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """TRL's function, as its trainer calls it. On a CPU without its Triton kernel."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction  # pyright: ignore[reportMissingImports]
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as SIZE  # pyright: ignore[reportMissingImports]

    scale = float(temperature[0])
    result = ChunkedLogProbFunction.apply(hidden, weight, None, targets, scale, SIZE, None, 1.0, ("entropy",))
    return result[:2]


HEADS: dict[str, Head] = {"ours": token_logprobs, "plain": plain} | ({"TRL": trl} if find_spec("trl") else {})


def main(
    tokens: int = 1249,
    vocabulary: int = 49_152,
    hidden: int = 576,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    trained: bool = False,
    repeats: int = 5,
    output: str | None = None,
    memory_of: str | None = None,
) -> None:
    """Time and weigh the heads.

    Args:
        tokens: Rows.
        vocabulary: Words.
        hidden: Features of a state.
        dtype: Of states and weight.
        trained: The weight needs a gradient too.
        repeats: Rounds that count, after one that does not.
        output: JSON file for what is printed.
        memory_of: Only print the extra bytes of this head.
    """
    torch.set_num_threads(1)
    if memory_of:
        inputs = make_inputs(tokens, vocabulary, hidden, getattr(torch, dtype), trained)
        print(extra_memory(HEADS[memory_of], inputs))
        return
    shape = [f"--tokens={tokens}", f"--vocabulary={vocabulary}", f"--hidden={hidden}", f"--dtype={dtype}"]
    memory = {name: in_fresh_process([*shape, f"--trained={trained}", f"--memory_of={name}"]) for name in HEADS}
    inputs = make_inputs(tokens, vocabulary, hidden, getattr(torch, dtype), trained)
    same = {name: agrees(head, inputs) for name, head in HEADS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in HEADS}
    peak: list[float] = []
    for repeat in range(repeats + 1):
        for name in sorted(HEADS, reverse=bool(repeat % 2)):
            seconds[name].append(forward_backward(HEADS[name], inputs))
        peak.append(matmul_speed(getattr(torch, dtype)))
    passes = 3 if trained else 2
    ideal = passes * 2 * tokens * vocabulary * hidden / max(peak)
    share = ideal / median(seconds["ours"][1:])
    print(
        f"{tokens} tokens x {vocabulary} words, hidden {hidden}, {dtype}, weight {'trained' if trained else 'frozen'}"
    )
    for name in HEADS:
        ratios = [other / ours for other, ours in zip(seconds[name][1:], seconds["ours"][1:], strict=True)]
        times = f"{median(seconds[name][1:]):.2f} s, {median(ratios):.2f} x ours ({min(ratios):.2f}-{max(ratios):.2f})"
        room = f"{memory[name] / 2**20:.0f} MiB, {memory[name] / memory['ours']:.1f} x"
        print(f"{name:6} {times}; {room}" if same[name] else f"{name:6} other values: no ratio")
    print(f"ours: {share:.0%} of peak, {max(peak) / 1e9:.0f} GFLOP/s, with {passes} matrix products")
    if output:
        found = {"machine": describe(), "seconds": seconds, "extra bytes": memory, "of peak": share, "same": same}
        Path(output).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if all(same.values()) else 1)


def make_inputs(tokens: int, vocabulary: int, hidden: int, dtype: torch.dtype, trained: bool) -> tuple[Tensor, ...]:
    """Hidden states and weight that give logits of about unit variance; targets; temperatures."""
    torch.manual_seed(0)
    states = torch.randn(tokens, hidden).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, hidden) / hidden**0.5).to(dtype).requires_grad_(trained)
    return states, weight, torch.randint(vocabulary, (tokens,)), torch.full((tokens,), 0.99)


def forward_backward(head: Head, inputs: Any) -> float:
    """CPU seconds of one forward and backward pass; gradients are left in ``.grad``."""
    for tensor in inputs:
        tensor.grad = None
    start = time.process_time()
    head(*inputs)[0].mean().backward()
    return time.process_time() - start


def agrees(head: Head, inputs: Any) -> bool:
    """Whether a head gives what the plain way gives, within rounding."""
    found = []
    for each in (head, plain):
        forward_backward(each, inputs)
        gradient = torch.cat([tensor.grad.float().flatten() for tensor in inputs if tensor.grad is not None])
        with torch.no_grad():
            found.append((*each(*inputs), gradient))
    (logp, entropy, gradient), (expected, its_entropy, its_gradient) = found
    near = 0.1 if inputs[0].dtype == torch.bfloat16 else 1e-3
    values = max(float((a - b).abs().mean()) for a, b in ((logp, expected), (entropy, its_entropy)))
    return values < near and float(torch.cosine_similarity(gradient, its_gradient, 0)) > 0.999


def matmul_speed(dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of a large product."""
    a, b = torch.randn(2, size, size).to(dtype)
    start = time.process_time()
    a @ b
    return 2 * size**3 / (time.process_time() - start)


def extra_memory(head: Head, inputs: Any) -> int:
    """Peak bytes beyond hidden states, weight and their gradients; meant for a fresh process."""
    states, weight, targets, temperature = inputs
    small = states.detach()[:2].requires_grad_(), weight.detach()[:256], torch.zeros_like(targets[:2]), temperature[:2]
    forward_backward(head, small)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = resident("VmRSS")
    forward_backward(head, inputs)
    return resident("VmHWM") - before - sum(tensor.grad.nbytes for tensor in inputs if tensor.grad is not None)


def resident(field: str) -> int:
    """Bytes resident now (``VmRSS``) or at their peak (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def in_fresh_process(arguments: list[str]) -> int:
    command = [sys.executable, "-m", "benchmarks.logprobs", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    auto_cli(main)
