"""Rubric dropout (arXiv 2608.11669): a part of each rubric is not rewarded."""

from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.wrapper import Wrapper
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Bool
from rtt_lightning.types.errors import UserError


class RubricDropout(Wrapper):
    """Of the K criteria of a prompt round(share K) take no part in a window, others in the next one.

    They are the same for all of its responses; at least one is left, a wanted one if there is any. So a policy cannot
    rest on criteria that are cheap to satisfy. Prompts name all criteria, and logged accuracies are of all; rewards are
    of those that are left. Evaluations are not touched. The draw depends on the seed, the updates behind the sampling
    weights and the prompt's number in the window alone: with ``rollout.ahead`` 1 the first two windows, both sampled by
    the weights of the start, have the same.

    Args:
        algorithm: The scheme that gives the credit.
        share: Of the criteria to drop, in [0, 1); the paper drops 0.3 to 0.5.
        seed: Of the draw.
    """

    def __init__(self, algorithm: Algorithm, share: float = 0.4, seed: int = 0) -> None:
        super().__init__(algorithm)
        if not 0 <= share < 1:
            raise UserError(f"share is that of the criteria to drop, in [0, 1), got {share}")
        self.share, self.seed = share, seed

    def __call__(self, experience: Experience) -> Credited:
        left = self.left(experience)
        weights = torch.where(left, experience.weights, 0.0)
        return self.algorithm(replace(experience, weights=weights, scorable=experience.scorable & left))

    def left(self, experience: Experience) -> Bool[Tensor, "batch rubric"]:
        """The criteria that take part. A collective."""
        left, ranks = experience.exists, experience.ranks()
        for group in experience.group_ids.unique().tolist():
            rows = experience.group_ids == group
            draw = Random(f"{self.seed} {experience.version} {group * ranks + experience.rank}")
            there = [k for k, exists in enumerate(left[rows].any(0).tolist()) if exists]
            wanted = [k for k in there if (experience.weights[rows, k] > 0).any()]
            count = round(self.share * len(there))
            if there:
                there.remove(draw.choice(wanted or there))
            dropped = draw.sample(there, min(count, len(there)))
            left[:, dropped] &= ~rows[:, None]
        return left
