"""Rollouts as padded tensors, and log-probs of their responses after other prompts."""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.runtime.processes import gather
from rtt_lightning.types import Rollout
from rtt_lightning.types.batches import Sequences, TokenBatch

Tokens = TypeVar("Tokens", bound=TokenBatch)
ROWS = 16
"""Responses per forward pass."""


def sequences(rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]] | None = None) -> Sequences:
    """Pad rollouts, on the CPU; there may be none.

    Args:
        rollouts: Rows.
        prompts: Token ids of other prompts, one per row, in place of its own.
    """
    prompts = [row.prompt_ids for row in rollouts] if prompts is None else prompts
    return Sequences(
        prompt_ids=padded(prompts, torch.long),
        prompt_lengths=torch.tensor([len(prompt) for prompt in prompts], dtype=torch.long),
        response_ids=padded([row.response_ids for row in rollouts], torch.long),
        response_mask=padded([[True] * len(row.response_ids) for row in rollouts], torch.bool),
        temperature=torch.tensor([row.temperature for row in rollouts]),
        sampler_logprobs=padded([row.logprobs or [torch.nan] * len(row.response_ids) for row in rollouts], torch.float),
    )


def on_device(batch: Tokens, device: torch.device) -> Tokens:
    """A batch with its tensors on a device."""
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    return cast(Tokens, moved)


def padded(rows: Sequence[Sequence[float] | Tensor], dtype: torch.dtype) -> Tensor:
    """``[batch token]``, at least one wide, right-padded with zeros."""
    if not rows:
        return torch.zeros(0, 1, dtype=dtype)
    joined = pad_sequence([torch.as_tensor(row, dtype=dtype) for row in rows], batch_first=True)
    return pad(joined, (0, max(0, 1 - joined.shape[1])))


@torch.no_grad()
def logprobs_after(
    response_logprobs: Callable[[Sequences], tuple[Tensor, Tensor]],
    device: torch.device,
    rollouts: Sequence[Rollout],
    prompts: Sequence[Sequence[int]],
) -> list[Tensor]:
    """Log-probs of the tokens of each response as if it followed another prompt: ``[token]`` per row, on the CPU.

    A collective: processes of a sharded model run its forward equally often, with any number of rows.

    Args:
        response_logprobs: A model's: rows, possibly none, to log-probs and entropies ``[batch token]``.
        device: The model's.
        rollouts: Rows.
        prompts: Token ids of the other prompt of each row.
    """
    passes = max(gather(-(-len(rollouts) // ROWS)))
    found: list[Tensor] = []
    for start in range(0, passes * ROWS, ROWS):
        rows = rollouts[start : start + ROWS]
        batch = sequences(rows, prompts[start : start + ROWS])
        values, _ = response_logprobs(on_device(batch, device))
        found += [row[mask] for row, mask in zip(values.cpu(), batch["response_mask"], strict=True)]
    return found
