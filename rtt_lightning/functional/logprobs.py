"""Log-probabilities and entropy of given tokens without a [token, vocabulary] tensor.

For a vocabulary of 150,000 the logits of a few thousand tokens are larger than the model. Here they exist for one slice
of the vocabulary at a time, in the forward pass and, recomputed, in the backward pass. Slicing the vocabulary, not the
tokens, writes each row of the weight's gradient once.
"""

from typing import Any

import torch
from torch import Tensor

from rtt_lightning.types.axes import Float, Int

BLOCK_NUMEL = 2**22
"""Logits held at a time: 16 MiB in fp32."""
BLOCK_WORDS = 128
"""Fewest words in a slice: narrower matrix products are slow."""


def token_logprobs(
    hidden: Float[Tensor, "rows hidden"],
    weight: Float[Tensor, "vocabulary hidden"],
    targets: Int[Tensor, " rows"],
    temperature: Float[Tensor, " rows"],
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """log softmax(hidden weight^T / temperature)[targets], and the entropy of that distribution in nats.

    Both are differentiable with respect to ``hidden`` and ``weight``. Logits are computed in the dtype of ``weight``,
    or of autocast if it is on, and normalised in fp32.

    Args:
        hidden: States that predict ``targets``.
        weight: The output embedding.
        targets: In [0, vocabulary).
        temperature: > 0.

    Returns:
        Log-probs and entropies, fp32.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    return _TokenLogprobs.apply(hidden, weight, targets, temperature, dtype)  # pyright: ignore[reportReturnType]


def _blocks(rows: int, vocabulary: int) -> list[slice]:
    words = max(BLOCK_NUMEL // max(rows, 1), BLOCK_WORDS)
    return [slice(start, min(start + words, vocabulary)) for start in range(0, vocabulary, words)]


def _scaled_logits(states: Tensor, weight: Tensor, temperature: Tensor) -> Tensor:
    return (states @ weight.T).float().div_(temperature[:, None])


def _locate(targets: Tensor, words: slice) -> tuple[Tensor, Tensor]:
    """Position of each target within a slice ``[rows 1]``, and whether it lies there ``[rows 1]``."""
    inside = (targets >= words.start) & (targets < words.stop)
    return torch.where(inside, targets - words.start, 0)[:, None], inside[:, None]


class _TokenLogprobs(torch.autograd.Function):
    """With z = logits / temperature: d log p_y / dz_v = [v = y] - p_v and d H / dz_v = -p_v (log p_v + H).

    Slices combine by the chain rule of entropy: with q_b the probability of slice b and H_b the entropy within it,
    H = sum_b q_b (H_b - log q_b).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        states = hidden.to(dtype)
        target_logits = torch.zeros_like(targets, dtype=torch.float32)
        blocks = _blocks(len(hidden), len(weight))
        # Made in advance: small lasting tensors between large temporary ones would fragment the memory.
        norms, entropies = torch.empty(2, len(blocks), len(hidden), device=hidden.device)
        for block, words in enumerate(blocks):
            logits = _scaled_logits(states, weight[words].to(dtype), temperature)
            index, inside = _locate(targets, words)
            target_logits += torch.where(inside, logits.gather(-1, index), 0.0)[:, 0]
            norms[block] = logits.logsumexp(-1)
            log_p = logits.sub_(norms[block, :, None])
            entropies[block] = -log_p.exp().mul_(log_p).sum(-1)
        norm = norms.logsumexp(0)
        log_q = norms - norm
        entropy = (log_q.exp() * (entropies - log_q)).sum(0)
        ctx.save_for_backward(hidden, weight, targets, temperature, norm, entropy)
        ctx.set_materialize_grads(False)  # an unused output has no gradient, and costs nothing
        ctx.dtype = dtype
        return target_logits - norm, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        hidden, weight, targets, temperature, norm, entropy = ctx.saved_tensors
        grads = tuple(None if grad is None else (grad / temperature)[:, None] for grad in grads)
        grad_logprobs = torch.zeros_like(temperature)[:, None] if grads[0] is None else grads[0]
        grad_entropy = grads[1]
        states = hidden.to(ctx.dtype)
        grad_hidden = torch.zeros_like(hidden, dtype=torch.float32) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for words in _blocks(len(hidden), len(weight)):
            block = weight[words].to(ctx.dtype)
            log_p = _scaled_logits(states, block, temperature).sub_(norm[:, None])
            p = log_p.exp()
            if grad_entropy is not None:
                grad_logits = p.mul_(log_p.add_(entropy[:, None]).mul_(grad_entropy).add_(grad_logprobs)).neg_()
            else:
                grad_logits = p.mul_(-grad_logprobs)
            index, inside = _locate(targets, words)
            grad_logits.scatter_add_(-1, index, torch.where(inside, grad_logprobs, 0.0))
            grad_logits = grad_logits.to(ctx.dtype)
            if grad_hidden is not None:
                grad_hidden += grad_logits @ block
            if grad_weight is not None:
                grad_weight[words] = grad_logits.T @ states
        return None if grad_hidden is None else grad_hidden.to(hidden.dtype), grad_weight, None, None, None
