"""Compares estimated memory with what a device has: a table, and what to change if it does not fit."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from rtt_lightning.commands.doctor.measure import Holders
from rtt_lightning.types.errors import UserError

GIB = 2**30
SPARE = GIB
"""Memory for libraries, their contexts and gaps between allocations."""
MEASURES = {
    "base weights": "4-bit weights (--config memory/qlora.yaml), or FSDP over more processes",
    "trained weights": "adapters (model.init_args.lora), or FSDP over more processes",
    "gradients": "adapters (model.init_args.lora), or FSDP over more processes",
    "gradient buckets": "FSDP in place of DDP",
    "optimizer state": "8-bit states (bitsandbytes.optim.AdamW8bit), adapters, or FSDP over more processes",
    "reference": "adapters, whose reference needs no copy",
    "discriminator": "a discriminator of fewer layers",
    "engine": "a lower rollout.engine.init_args.gpu_memory_utilization, or a server on other devices",
    "merged weights": "rollout.engine.init_args.merge_adapters false",
    "packed weights": "a sampler on other devices, such as a vLLM server",
    "key-value cache": "a lower rollout.engine.init_args.batch_size",
    "gathered layers": "adapters, or a smaller model",
    "activations": "model.init_args.gradient_checkpointing true, a higher trainer.accumulate_grad_batches (and a lower "
    "rollout.micro_batch_tokens, if set), a lower rollout.sampling.max_new_tokens; for a discriminator a lower "
    "data.view.init_args.batch_size",
    "workspace": "a higher trainer.accumulate_grad_batches, a lower batch_size of rollout.engine, or batch_tokens of "
    "rollout.relevance",
}
"""How to reduce each holder of memory."""


def split_gpu_memory(args: Sequence[str]) -> tuple[int | None, list[str]]:
    """Bytes of each GPU that a run is for, if given, and the other flags.

    Raises:
        UserError: For anything but a number above 0.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--gpu_memory")
    own, others = parser.parse_known_args(args)
    if own.gpu_memory is None:
        return None, others
    try:
        size = int(float(own.gpu_memory) * GIB)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise UserError(f"--gpu_memory must be a number of GiB above 0, such as 24, got {own.gpu_memory!r}")
    return size, others


def print_estimate(phases: Mapping[str, Holders]) -> None:
    """A row per holder, a column per phase, in GiB."""
    table = Table(title="memory of one process, GiB", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for phase in phases:
        table.add_column(phase, justify="right")
    for holder in dict.fromkeys(holder for holders in phases.values() for holder in holders):
        counts = (holders.get(holder) for holders in phases.values())
        table.add_row(holder, *("" if count is None else f"{count / GIB:.2f}" for count in counts))
    table.add_row("together", *(f"{sum(holders.values()) / GIB:.2f}" for holders in phases.values()), style="bold")
    Console().print(table)


def judge_fit(phases: Mapping[str, Holders], memory: int | None) -> tuple[bool | None, str, str]:
    """Whether the largest phase fits, with `SPARE`; which one it is; and what to change if not.

    Args:
        phases: Holders of each phase.
        memory: Bytes that a process may use; ``None`` if unknown.
    """
    phase, holders = max(phases.items(), key=lambda item: sum(item[1].values()))
    need = sum(holders.values()) + SPARE
    said = f"{phase} is the largest phase: with {SPARE / GIB:.0f} GiB for the libraries {need / GIB:.1f} GiB a process"
    if memory is None:
        return None, f"{said}; what the devices of the run have is not known here", ""
    said += f" of {memory / GIB:.1f} GiB"
    if need <= memory:
        return True, said, ""
    largest = sorted(holders, key=lambda holder: -holders[holder])[:3]
    advice = "; ".join(f"{holders[holder] / GIB:.1f} GiB {holder}: {MEASURES[holder]}" for holder in largest)
    return False, f"{said}: it does not fit", advice
