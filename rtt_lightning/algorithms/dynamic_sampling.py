"""DAPO's dynamic sampling (arXiv 2503.14476), within one window."""

from dataclasses import replace

import torch
from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.algorithms.wrapper import Wrapper, credit_of
from rtt_lightning.functional.cells import segments
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Bool
from rtt_lightning.types.errors import UserError


class DynamicSampling(Wrapper):
    """Of the prompts of a window the first ``keep`` that teach something are trained on.

    Their credit is that of a window of these alone. A prompt teaches if the advantages of its responses are not all
    equal. A window should hold more prompts than ``keep`` (`data.view.init_args.prompts`). DAPO samples on until so
    many teach; here a window without enough of them is smaller, and one with more leaves the rest. Rewards and metrics
    are those of all that was sampled.

    Args:
        algorithm: The scheme that gives the credit.
        keep: Prompts of a window to train on, over all processes together.
    """

    def __init__(self, algorithm: Algorithm, keep: int) -> None:
        super().__init__(algorithm)
        if keep < 1:
            raise UserError(f"keep is a number of prompts, at least 1, got {keep}")
        self.keep = keep

    def __call__(self, experience: Experience) -> Credited:
        whole = self.algorithm(experience)
        kept = self.first(experience, teaches(whole, experience))
        return replace(
            credit_of(self.algorithm, experience, kept), rewards=whole.rewards, known=whole.known, metrics=whole.metrics
        )

    def first(self, experience: Experience, taught: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """The responses to the first prompts that teach, in the order of the whole window. A collective."""
        ranks = experience.ranks()
        numbers = experience.group_ids * ranks + experience.rank + 1  # in the window, from 1
        own = numbers[taught].unique()[: self.keep]
        table = torch.zeros(ranks, self.keep, dtype=torch.long)
        table[experience.rank, : len(own)] = own
        everywhere = experience.reduce(table)
        return taught & torch.isin(numbers, everywhere[everywhere > 0].sort().values[: self.keep])


def teaches(credited: Credited, experience: Experience) -> Bool[Tensor, " batch"]:
    """Whether the advantages of a response's group differ, over the tokens that are trained on."""
    mask, group = experience.response_mask, segments(experience.group_ids)
    mask = mask if credited.trained is None else mask & credited.trained[:, None]
    highest = torch.where(mask, credited.advantages, -torch.inf).amax(1)
    lowest = torch.where(mask, credited.advantages, torch.inf).amin(1)
    highest = highest.scatter_reduce(0, group, highest, "amax", include_self=False)
    lowest = lowest.scatter_reduce(0, group, lowest, "amin", include_self=False)
    return ~(highest <= lowest)[group]  # what is not finite is kept, and named
