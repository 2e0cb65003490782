"""Log-probabilities and entropy of given tokens without a [token, vocabulary] tensor.

For a vocabulary of 150,000 the logits of a few thousand tokens are larger than the model. Here they exist for one tile
of tokens and words at a time. Each tile also adds its share to d log p / d hidden, ``[hidden]`` per token. So with a
frozen output embedding, as with LoRA, the backward pass needs no logits, and the whole costs two matrix products.
Gradients of the embedding and of the entropy compute the logits again.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rtt_lightning.types.axes import Float, Int


class Tile(NamedTuple):
    """Tokens and words whose logits exist at a time."""

    rows: int
    words: int


IN_CACHE, ON_GPU = Tile(512, 1024), Tile(8192, 8192)
"""2 MiB in fp32, which fits the caches of a CPU core; 256 MiB, for few and large launches."""


def token_logprobs(
    hidden: Float[Tensor, "rows hidden"],
    weight: Float[Tensor, "vocabulary hidden"],
    targets: Int[Tensor, " rows"],
    temperature: Float[Tensor, " rows"],
    tile: Tile | None = None,
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """log softmax(hidden weight^T / temperature)[targets], and the entropy of that distribution in nats.

    Both are differentiable with respect to ``hidden`` and ``weight``. Logits are computed in the dtype of ``weight``,
    or of autocast if it is on, and normalised in fp32.

    Args:
        hidden: States that predict ``targets``.
        weight: The output embedding.
        targets: In [0, vocabulary).
        temperature: > 0.
        tile: By default the one that suits the device.

    Returns:
        Log-probs and entropies, fp32.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    tile = tile or (IN_CACHE if device == "cpu" else ON_GPU)
    return _TokenLogprobs.apply(hidden, weight, targets, temperature, dtype, tile)  # pyright: ignore[reportReturnType]


def _parts(total: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _scaled_logits(states: Tensor, weight: Tensor, temperature: Tensor) -> Tensor:
    return (states @ weight.T).float().div_(temperature[:, None])


def _locate(targets: Tensor, words: slice) -> tuple[Tensor, Tensor]:
    """Position of each target within a slice ``[rows 1]``, and whether it lies there ``[rows 1]``."""
    inside = (targets >= words.start) & (targets < words.stop)
    return torch.where(inside, targets - words.start, 0)[:, None], inside[:, None]


class _Softmax:
    """A softmax over words that arrive in slices: an online softmax (1805.02867).

    With z the logits and m the largest so far, it keeps per token: m, the sums over words of e^(z - m), of
    e^(z - m) (z - m), and of e^(z - m) times the word's embedding. When m grows to m', sums are scaled by e^(m - m').
    """

    def __init__(self, states: Tensor, mean: bool) -> None:
        self.largest = torch.full((len(states), 1), -torch.inf, device=states.device)
        self.sum, self.moment = torch.zeros(2, len(states), 1, device=states.device)
        self.embeddings = torch.zeros(states.shape, dtype=torch.float32, device=states.device) if mean else None

    def add(self, logits: Tensor, weight: Tensor) -> None:
        """``logits [rows words]`` are consumed; ``weight [words hidden]`` are the embeddings of these words."""
        largest = torch.maximum(self.largest, logits.amax(-1, keepdim=True))
        drop = (self.largest - largest).clamp_(min=torch.finfo(torch.float32).min)  # -inf at first, times a sum of 0
        shrink = drop.exp()
        powers = logits.sub_(largest).exp()
        self.moment = shrink * (self.moment + drop * self.sum) + logits.mul_(powers).sum(-1, keepdim=True)
        self.sum = self.sum * shrink + powers.sum(-1, keepdim=True)
        if self.embeddings is not None:
            self.embeddings.mul_(shrink).add_(powers.to(weight.dtype) @ weight)
        self.largest = largest

    def norm(self) -> Tensor:
        """``[rows]`` log of the sum of e^z."""
        return (self.largest + self.sum.log())[:, 0]

    def entropy(self) -> Tensor:
        """``[rows]``"""
        return (self.sum.log() - self.moment / self.sum)[:, 0]


class _TokenLogprobs(torch.autograd.Function):
    """With z = logits / temperature: d log p_y / dz_v = [v = y] - p_v and d H / dz_v = -p_v (log p_v + H).

    So d log p_y / d hidden = (weight_y - sum_v p_v weight_v) / temperature, which the forward pass keeps.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor, dtype: torch.dtype, tile: Tile
    ) -> tuple[Tensor, Tensor]:
        states = hidden.to(dtype)
        target_logits = torch.zeros_like(targets, dtype=torch.float32)
        norm, entropy = torch.empty(2, len(hidden), device=hidden.device)
        slope = torch.empty_like(hidden, dtype=torch.float32) if ctx.needs_input_grad[0] else None
        for rows in _parts(len(hidden), tile.rows):
            softmax = _Softmax(states[rows], slope is not None)
            for words in _parts(len(weight), tile.words):
                block = weight[words].to(dtype)
                logits = _scaled_logits(states[rows], block, temperature[rows])
                index, inside = _locate(targets[rows], words)
                target_logits[rows] += torch.where(inside, logits.gather(-1, index), 0.0)[:, 0]
                softmax.add(logits, block)
            norm[rows], entropy[rows] = softmax.norm(), softmax.entropy()
            if slope is not None and softmax.embeddings is not None:
                own = weight[targets[rows]].to(dtype)
                slope[rows] = (own - softmax.embeddings / softmax.sum) / temperature[rows, None]
        ctx.save_for_backward(hidden, weight, targets, temperature, norm, entropy, slope)
        ctx.set_materialize_grads(False)  # an unused output has no gradient, and costs nothing
        ctx.dtype, ctx.tile = dtype, tile
        return target_logits - norm, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        slope = ctx.saved_tensors[-1]
        needs_hidden, needs_weight, *_ = ctx.needs_input_grad
        again = needs_hidden and grads[1] is not None  # of the entropy, which the slope does not have
        grad_hidden, grad_weight = _again(ctx, grads, again, needs_weight) if again or needs_weight else (None, None)
        if needs_hidden and not again and grads[0] is not None:
            grad_hidden = (slope * grads[0][:, None]).to(ctx.saved_tensors[0].dtype)
        return grad_hidden, grad_weight, None, None, None, None


def _again(
    ctx: Any, grads: tuple[Tensor | None, ...], needs_hidden: bool, needs_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of states and weight, from logits computed again. Each row of the latter is written once."""
    hidden, weight, targets, temperature, norm, entropy, _ = ctx.saved_tensors
    states = hidden.to(ctx.dtype)
    grad_hidden = torch.zeros_like(hidden, dtype=torch.float32)
    grad_weight = torch.empty_like(weight) if needs_weight else None
    by_logprobs, by_entropy = (torch.zeros_like(norm) if grad is None else grad / temperature for grad in grads)
    for words in _parts(len(weight), ctx.tile.words):
        block = weight[words].to(ctx.dtype)
        total = torch.zeros_like(block, dtype=torch.float32)
        for rows in _parts(len(hidden), ctx.tile.rows):
            log_p = _scaled_logits(states[rows], block, temperature[rows]).sub_(norm[rows, None])
            p = log_p.exp()
            slopes = -by_logprobs[rows, None]
            if grads[1] is not None:
                slopes = slopes - log_p.add_(entropy[rows, None]).mul_(by_entropy[rows, None])
            index, inside = _locate(targets[rows], words)
            grad_logits = p.mul_(slopes).scatter_add_(-1, index, torch.where(inside, by_logprobs[rows, None], 0.0))
            grad_logits = grad_logits.to(ctx.dtype)
            if needs_hidden:
                grad_hidden[rows] += grad_logits @ block
            if needs_weight:
                total += grad_logits.T @ states[rows]
        if grad_weight is not None:
            grad_weight[words] = total
    return grad_hidden.to(hidden.dtype) if needs_hidden else None, grad_weight
