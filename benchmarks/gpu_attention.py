"""That attention over segments is right on a GPU, where one kernel computes it."""

from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor

from benchmarks.gpu_checks import Setting
from rtt_lightning.lm.attention import Segment, Segments, attend, has_kernel


def attends(setting: Setting, tokens: int = 96) -> dict[str, float]:
    """In bf16, attention over segments and its gradients are as near to fp32 with a mask as bf16 with that mask is."""
    generator = torch.Generator().manual_seed(0)
    lengths, prompt = torch.randint(1, tokens, (7,), generator=generator).tolist(), slice(0, tokens)
    bounds = [tokens, *torch.tensor(lengths).cumsum(0).add(tokens).tolist()]
    own = [slice(start, stop) for start, stop in pairwise(bounds)]
    device = torch.device(setting.device)
    each = [Segment(prompt, slice(0, 0)), *(Segment(each, prompt) for each in own)]
    segments = Segments(each, device, has_kernel(device))
    shapes = [(1, heads, bounds[-1], 64) for heads in (8, 2, 2)]
    states = [torch.randn(shape, generator=generator).to(setting.device) for shape in shapes]
    weight = torch.randn(1, bounds[-1], 8, 64, generator=generator).to(setting.device)

    def run(dtype: torch.dtype, masked: bool) -> list[Tensor]:
        inputs = [each.to(dtype).requires_grad_() for each in states]
        mask, packed = (segments.mask, None) if masked else (None, segments)
        module = SimpleNamespace(num_key_value_groups=4, is_causal=True)
        output, _ = attend(module, *inputs, mask, segments=packed)
        return [output.float(), *(each.float() for each in torch.autograd.grad((output * weight).sum(), inputs))]

    exact = run(torch.float32, masked=True)
    low = (run(torch.bfloat16, masked) for masked in (False, True))
    ours, theirs = ([_error(*pair) for pair in zip(found, exact, strict=True)] for found in low)
    if not all(one < 2 * other for one, other in zip(ours, theirs, strict=True)):
        raise AssertionError(f"errors over segments {ours}, with a mask {theirs}")
    return {"largest error": max(ours), "with a mask": max(theirs)}


def _error(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())
