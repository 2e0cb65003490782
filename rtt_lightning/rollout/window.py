"""A window of experience: rollouts, advantages and everything else that its micro-batches need, as plain tensors."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from rtt_lightning.lm.sequences import on_device
from rtt_lightning.rollout.micro_batches import split_groups
from rtt_lightning.runtime.finite import all_finite
from rtt_lightning.runtime.processes import gather
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.batches import ResponseBatch
from rtt_lightning.types.errors import UserError


class Window:
    """The micro-batches of one window, in order.

    Args:
        number: Number of the window in the run.
        micro_batches: One per training step.
        needed: Micro-batches per update that keep within the budget of tokens; not saved.
    """

    def __init__(self, number: int, micro_batches: list[ResponseBatch], needed: int = 0) -> None:
        self.number, self.micro_batches, self.needed = number, micro_batches, needed

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, which load with ``weights_only``."""
        return {"number": self.number, "micro_batches": self.micro_batches}

    @classmethod
    def resumed(cls, states: Sequence[dict[str, Any]], rank: int, ranks: int) -> "Window | None":
        """The window of this process, from those that all processes saved; ``None`` without any.

        Raises:
            UserError: If another number of processes saved them.
        """
        if len(states) not in (0, ranks):
            raise UserError(
                f"the checkpoint lies within a window that {len(states)} processes share; {ranks} cannot go on with "
                f"it: resume with {len(states)}, or from the end of a window"
            )
        return cls(states[rank]["number"], states[rank]["micro_batches"]) if states else None

    @torch.no_grad()
    def anchor(self, policy: Any) -> None:
        """Add the log-probs of the policy's current weights, from which later updates of the window move away."""
        for micro_batch in self.micro_batches:
            logprobs = policy.response_logprobs(on_device(micro_batch, policy.device))[0].cpu()
            micro_batch["old_logprobs"] = zeros_for_nonfinite(logprobs)
            if not all_finite([logprobs]):
                micro_batch["nonfinite"].append("log-probs")

    def exceeds(self, budget: int, parts: int) -> bool:
        """Whether it does not fit in ``parts`` micro-batches of so many tokens, anywhere; says so. A collective."""
        needed = max(gather(self.needed))
        if needed > parts:
            rank_zero_warn(
                f"window {self.number} does not fit in {parts} micro-batches per update of at most {budget} tokens "
                "(rollout.micro_batch_tokens), so its responses are spread evenly; raise "
                f"trainer.accumulate_grad_batches to {needed}: micro-batches that are not needed stay empty"
            )
        return needed > parts

    def nonfinite(self) -> list[tuple[str, list[str]]]:
        """What is not finite in its micro-batches, and the ids of their prompts."""
        return [(what, part["prompt_id"]) for part in self.micro_batches for what in part["nonfinite"]]


def make_window(
    number: int,
    experience: Experience,
    credited: Credited,
    scheme: str,
    prompt_ids: Sequence[str],
    updates: int,
    micro_batches_per_update: int,
    micro_batch_tokens: int | None = None,
) -> Window:
    """Divide a window into micro-batches, see `split_groups`. A collective.

    Responses that are not trained on are in none and count in no update; an update may be left without any. A
    micro-batch names relevance or advantages that are not finite under ``nonfinite``, and holds zeros for them.

    Args:
        number: Number of the window in the run.
        experience: All rows of this process.
        credited: Its credit.
        scheme: The class that gave it, for messages.
        prompt_ids: Of each row.
        updates: Optimiser updates per window.
        micro_batches_per_update: Micro-batches that accumulate to one update.
        micro_batch_tokens: Budget of a micro-batch.
    """
    advantages = credited.advantages
    if credited.trained is not None:
        prompt_ids = [prompt for prompt, kept in zip(prompt_ids, credited.trained.tolist(), strict=True) if kept]
        experience, advantages = experience.rows(credited.trained), advantages[credited.trained]
    rows: dict[str, Any] = {**experience.sequences, "advantages": zeros_for_nonfinite(advantages)}
    nonfinite = {
        "relevance": ~experience.relevance.isfinite().flatten(1).all(1),
        f"advantages of {scheme}": ~advantages.isfinite().all(1),
    }
    micro_batches: list[ResponseBatch] = []
    split, needed = split_groups(experience, updates, micro_batches_per_update, micro_batch_tokens)
    for mine in split:
        tokens = experience.reduce(experience.response_mask[torch.cat(mine)].sum())
        micro_batches += [
            ResponseBatch(
                **{name: values[part] for name, values in rows.items()},
                prompt_id=[prompt_ids[int(row)] for row in part],
                nonfinite=[what for what, at in nonfinite.items() if at[part].any()],
                update_tokens=tokens,
                micro_batches=micro_batches_per_update,
                last_of_update=number_in_update + 1 == micro_batches_per_update,
            )
            for number_in_update, part in enumerate(mine)
        ]
    return Window(number, micro_batches, needed)


def zeros_for_nonfinite(values: Tensor) -> Tensor:
    """Replace what is not finite by zeros, so that a checkpoint within the window is finite."""
    return values.nan_to_num(0.0, 0.0, 0.0)
