"""A window of experience: rollouts, advantages and everything that its micro-batches need, as plain tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rtt_lightning.callbacks.experience import split_groups
from rtt_lightning.types import Experience

ROW_FIELDS = (
    "prompt_ids",
    "prompt_lengths",
    "response_ids",
    "response_mask",
    "temperature",
    "sampler_logprobs",
)


class Window:
    """The micro-batches of one window, in order.

    Args:
        number: Number of the window in the run.
        micro_batches: What each training step gets.
    """

    def __init__(self, number: int, micro_batches: list[dict[str, Any]]) -> None:
        self.number, self.micro_batches = number, micro_batches

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: loads with ``weights_only``."""
        return {"number": self.number, "micro_batches": self.micro_batches}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Window":
        return cls(state["number"], state["micro_batches"])


def make_window(
    number: int,
    experience: Experience,
    advantages: Tensor,
    updates: int,
    micro_batches_per_update: int,
    total_tokens: Callable[[Tensor], Tensor],
) -> Window:
    """Divide a window among its micro-batches; groups stay whole.

    Args:
        number: Number of the window in the run.
        experience: All rows of the window.
        advantages: ``[batch token]``.
        updates: Optimiser updates per window.
        micro_batches_per_update: Micro-batches that accumulate to one update.
        total_tokens: Sums a count over all ranks.
    """
    rows = {name: getattr(experience, name) for name in ROW_FIELDS} | {"advantages": advantages}
    parts = split_groups(experience.group_ids, updates * micro_batches_per_update)
    micro_batches = []
    for update in range(updates):
        mine = parts[update * micro_batches_per_update : (update + 1) * micro_batches_per_update]
        tokens = total_tokens(experience.response_mask[torch.cat(mine)].sum())
        micro_batches += [
            {name: values[part] for name, values in rows.items()}
            | {
                "update_tokens": tokens,
                "micro_batches": micro_batches_per_update,
                "last_of_update": number_in_update + 1 == micro_batches_per_update,
            }
            for number_in_update, part in enumerate(mine)
        ]
    return Window(number, micro_batches)
