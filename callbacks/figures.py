"""Figures of a window of rollouts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rtt_lightning.callbacks.signs import signs
from rtt_lightning.functional.rewards import all_or_nothing
from rtt_lightning.types import SHORTENED, STEERING, Experience, JudgedRollout


def rollout_figures(experience: Experience, judged: Sequence[JudgedRollout]) -> dict[str, Tensor]:
    """What is always logged of a window, so that nothing goes wrong unseen."""
    exists, scorable = experience.exists, experience.scorable
    passed, decided = all_or_nothing(experience.met, scorable, experience.weights)
    lengths = experience.response_mask.sum(1).float()
    flags = [flag for item in judged for verdict in item.verdicts for flag in verdict.flags]
    truncated = torch.tensor([item.rollout.finish_reason == "length" for item in judged])
    return {
        "rubric_accuracy": experience.as_desired.sum() / scorable.sum().clamp(min=1),
        "instruction_accuracy": passed.sum() / decided.sum().clamp(min=1),
        "unscorable": (exists & ~scorable).sum() / exists.sum(),
        **{flag: flags.count(flag) / exists.sum() for flag in (STEERING, SHORTENED)},
        "length": lengths.mean(),
        "truncated": truncated.float().mean(),
        **{name: torch.tensor(value) for name, value in signs(judged).items()},
    }
