"""Memory and time of `token_logprobs` against the plain way, forward and backward, both in one run.

Plain: ``hidden @ weight.T``, to fp32, divided by the temperature, ``log_softmax``, gather. Ours forms the logits of a
slice of the vocabulary at a time. Time: the two take turns in one process; each repeat gives one ratio ours / plain.
Memory: each variant runs once in a process of its own; *extra* is its peak resident size less what was resident with
hidden states and weight in place, less the bytes of the two gradients. Linux.

    python benchmarks/logprobs.py                   # 2,048 tokens x 151,936 words, hidden 576, fp32; about 5 minutes
    python benchmarks/logprobs.py --dtype bfloat16
    python benchmarks/logprobs.py --frozen          # the weight needs no gradient, as under LoRA

Target in fp32: extra memory at most 1/8 of the plain way, time at most 1.3 times.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor

from rtt_lightning.functional.logprobs import token_logprobs


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    """The usual way: every logit at once."""
    logits = (hidden @ weight.T).float() / temperature[:, None]
    return logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


def ours(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    """The function under test; its entropy is computed but not trained on, as by default."""
    return token_logprobs(hidden, weight, targets, temperature)[0]


VARIANTS = {"plain": plain, "ours": ours}


def make_inputs(args: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states and weight that give logits of about unit variance; targets; temperatures."""
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    hidden = torch.randn(args.tokens, args.hidden).to(dtype).requires_grad_()
    weight = (torch.randn(args.vocabulary, args.hidden) / args.hidden**0.5).to(dtype)
    targets = torch.randint(args.vocabulary, (args.tokens,))
    return hidden, weight.requires_grad_(not args.frozen), targets, torch.full((args.tokens,), 0.99)


def forward_backward(variant: str, inputs: tuple[Tensor, ...]) -> float:
    """Seconds for one forward and backward pass, gradients left in ``.grad``."""
    for tensor in inputs:
        tensor.grad = None
    start = time.perf_counter()
    VARIANTS[variant](*inputs).mean().backward()
    return time.perf_counter() - start


def resident(field: str) -> int:
    """Bytes resident now (``VmRSS``) or at their peak (``VmHWM``)."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def extra_memory(variant: str, args: argparse.Namespace) -> int:
    """Peak bytes beyond hidden states, weight and their gradients; meant for a fresh process."""
    inputs = make_inputs(args)
    small = [tensor[:2].detach().requires_grad_(tensor.requires_grad) for tensor in inputs]
    forward_backward(variant, (small[0], inputs[1].detach()[:256], torch.zeros_like(small[2]), small[3]))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from what is resident now
    before = resident("VmRSS")
    forward_backward(variant, inputs)
    return resident("VmHWM") - before - sum(tensor.grad.nbytes for tensor in inputs if tensor.grad is not None)


def in_fresh_process(variant: str, arguments: list[str]) -> int:
    command = [sys.executable, os.path.abspath(__file__), *arguments, "--memory-of", variant]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--frozen", action="store_true", help="no gradient for the weight")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(extra_memory(args.memory_of, args))
        return

    print(
        f"{args.tokens} tokens x {args.vocabulary} words, hidden {args.hidden}, {args.dtype}, "
        f"weight {'frozen' if args.frozen else 'trained'}, {args.threads} threads, torch {torch.__version__}"
    )
    memory = {variant: [in_fresh_process(variant, arguments) / 2**20 for _ in range(3)] for variant in VARIANTS}
    for variant, sizes in memory.items():
        print(f"extra memory, {variant:5}: {spread(sizes, 0)} MiB")
    ratio = statistics.median(memory["plain"]) / statistics.median(memory["ours"])
    print(f"extra memory, ours / plain: 1/{ratio:.1f}")

    inputs = make_inputs(args)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for repeat in range(args.repeats + 1):  # the first warms up
        for variant in sorted(VARIANTS, reverse=bool(repeat % 2)):
            times[variant].append(forward_backward(variant, inputs))
    for variant in VARIANTS:
        print(f"time, {variant:5}: {spread(times[variant][1:])} s")
    print(f"time, ours / plain: {spread([a / b for a, b in zip(times['ours'], times['plain'], strict=True)][1:])}")


if __name__ == "__main__":
    main(sys.argv[1:])
