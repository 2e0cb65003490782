"""What an update asks of a GPU, reckoned without one: operations, kernels, bytes moved and peak memory.

    python -m benchmarks.reckon --output reckon.json        # the ten updates of `make gpu-check`; about 2 minutes

Forward, loss and backward of one group of 8 responses by Qwen3-0.6B's shape in bf16, on tensors without values: as a
GPU runs them, with its kernels of attention and norms and its tiles of the head; and *plainly*: padded rows with a
prompt each, adapters by PEFT, SDPA, and the logits of all rows as one tensor. *Kernels* are operations that are
no views, each at least one launch; *moved* are the bytes that they read and write. Memory is beside weights and
gradients.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from jsonargparse import auto_cli
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from benchmarks.random_models import QWEN3_06B
from benchmarks.update import ON_A_GPU, Work, group
from benchmarks.update_ours import batch_of
from rtt_lightning.commands.doctor.imagined import imagine, imagined
from rtt_lightning.functional.logprobs import ON_GPU
from rtt_lightning.lm import adapters
from rtt_lightning.lm import layout as layouts
from rtt_lightning.lm.forward import layout_logprobs
from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.layout import Layout, packed_row, padded_rows
from rtt_lightning.lm.loading import Lora, add_adapters
from rtt_lightning.lm.merging import without_adapters

Counts = dict[str, float]
aten = torch.ops.aten
NOT_LAUNCHED = (
    *(kind.default for kind in (aten.empty_like, aten.new_empty, aten.detach, aten._unsafe_view, aten.promote_types)),
    aten.empty.memory_format,
)
"""They touch no memory."""


class Kernels(TorchDispatchMode):
    """Counts operations that are no views, and the bytes of the tensors that they take and give."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view and function.namespace != "prim" and function not in NOT_LAUNCHED:
            tensors = [leaf for leaf in torch.utils._pytree.tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.launches += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def main(only: str = "", output: str | None = None) -> None:
    """Count.

    Args:
        only: Updates whose name begins so.
        output: JSON file for what is printed.
    """
    rows = []
    for work in ON_A_GPU:
        if work.name.startswith(only):
            rows.append({"work": work.name, "ours": counts(work, ours), "plain": counts(work, plain)})
            print(line(rows[-1]), flush=True)
    found = {"torch": torch.__version__, "rows": rows, "operations of a layer": layers()}
    print(found["operations of a layer"])
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def layers() -> dict[str, int]:
    """Operations of one layer in bf16, forward and backward; those of adapters beside the layer's own two."""
    base = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False, dtype=torch.bfloat16))
    peft: Any = get_peft_model(base, LoraConfig(target_modules=["0"]))  # pyright: ignore[reportArgumentType]
    ours = deepcopy(peft)
    adapters.use_few_operations(ours)
    norm = Qwen3RMSNorm(64).bfloat16().requires_grad_(False)
    found = {"adapter": ours, "PEFT's adapter": peft, "the model's RMS norm": norm}
    return {name: _operations(layer) - 2 * ("adapter" in name) for name, layer in found.items()}


def _operations(layer: Callable[[Tensor], Tensor]) -> int:
    states = torch.ones(8, 64, dtype=torch.bfloat16, requires_grad=True)
    with Kernels() as kernels, torch.autocast("cpu", torch.bfloat16):
        y = layer(states)
    with kernels:
        y.backward(states.detach())
    return kernels.launches


def counts(work: Work, forward: Callable[[Any, Layout, Any], Tensor]) -> Counts:
    """Of forward, loss and backward."""
    batch: Any = batch_of(group(work))
    with patch.object(layouts, "has_kernel", lambda device: True):
        layout = packed_row(batch) if forward is ours else padded_rows(batch)
    segments: Any = layout.reading.get("segments")
    seen = (
        sum(each.length * each.keys - each.length * (each.length - 1) // 2 for each in segments.each) if segments else 0
    )
    with torch.device("meta"):
        model: Any = Qwen3ForCausalLM(Qwen3Config(**QWEN3_06B, tie_word_embeddings=True))
    if forward is ours:
        use_own_kernels(model)
    if work.lora:
        few = adapters.use_few_operations if forward is ours else lambda model: None
        with patch.object(adapters, "use_few_operations", few):
            model = add_adapters(model.requires_grad_(False), Lora(), "CAUSAL_LM")
    kernel = patch.object(F, "rms_norm", lambda states, shape, weight, eps: _OneKernel.apply(states, weight))
    with imagined() as memory, kernel:
        imagine(model)
        for weight in model.parameters():
            weight.data = weight.data.to(torch.float32 if weight.requires_grad else torch.bfloat16)
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        before = memory.peak = memory.live
        with FlopCounterMode(display=False, custom_mapping=_attention(seen)) as flops, Kernels() as kernels:
            with torch.autocast("cpu", torch.bfloat16):
                loss = (forward(model, layout, batch) * batch["advantages"]).sum()
            loss.backward()
    return {
        "TFLOP": round(flops.get_total_flops() / 1e12, 2),
        "kernels": kernels.launches,
        "GB moved": round(kernels.bytes / 1e9, 1),
        "peak GiB": round((memory.peak - before) / 2**30, 2),
    }


def _attention(seen: int) -> dict[Any, Callable[..., int]]:
    """Operations of the attention kernel, which sees ``seen`` pairs of positions; from shapes."""
    ops = torch.ops.torch_attn
    return {
        ops._varlen_attn: lambda query, *_, **__: 4 * seen * query[1] * query[2],
        ops._varlen_attn_backward: lambda grad, *_, **__: 10 * seen * grad[1] * grad[2],
    }


def ours(model: Any, layout: Layout, batch: Any) -> Tensor:
    return layout_logprobs(without_adapters(model), layout, batch, ON_GPU)[0]


def plain(model: Any, layout: Layout, batch: Any) -> Tensor:
    logits = model(input_ids=layout.ids, **layout.reading).logits[:, -1 - batch["response_ids"].shape[1] : -1]
    return logits.float().log_softmax(-1).gather(-1, batch["response_ids"][..., None])[..., 0]


class _OneKernel(torch.autograd.Function):
    """In place of the RMS norm, which is composed of others on a CPU: one operation forward, one backward."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(states, weight)
        return states * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        states, weight = ctx.saved_tensors
        return grads[0] * states, weight.detach() if ctx.needs_input_grad[1] else None


def line(row: dict[str, Any]) -> str:
    pairs = (f"{name} {row['ours'][name]:g} / {row['plain'][name]:g}" for name in row["ours"])
    return f"{row['work']:42} " + ", ".join(pairs) + "   (ours / plain)"


if __name__ == "__main__":
    auto_cli(main)
