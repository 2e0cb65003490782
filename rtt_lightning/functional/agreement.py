"""How well two judges agree on the same responses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rtt_lightning.types import JudgedRollout

PLACES: dict[bool | None, int] = {False: 0, True: 1, None: 2}


@dataclass(frozen=True)
class Agreement:
    """Counts of criteria by the verdicts of two judges.

    Attributes:
        counts: ``[3 3]`` long, by verdict of the first and of the second judge: not as desired, as desired, undecided.
    """

    counts: Tensor = field(default_factory=lambda: torch.zeros(3, 3, dtype=torch.long))

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.counts + other.counts)

    @property
    def criteria(self) -> int:
        """Number of criteria."""
        return int(self.counts.sum())

    @property
    def decided(self) -> int:
        """Criteria that both judges decide."""
        return int(self.counts[:2, :2].sum())

    @property
    def accuracy(self) -> float:
        """Share of equal verdicts among those; NaN without any."""
        return float(self._shares.trace())

    @property
    def kappa(self) -> float:
        """Agreement beyond chance, (p_o - p_e) / (1 - p_e) (Cohen, 1960); NaN if both give one verdict to all."""
        chance = self._shares.sum(0) @ self._shares.sum(1)
        return float((self._shares.trace() - chance) / (1 - chance))

    @property
    def optimism(self) -> float:
        """Share as desired by the first judge minus by the second, of the criteria that both decide."""
        return float(self._shares[1].sum() - self._shares[:, 1].sum())

    @property
    def unscorable(self) -> int:
        """Criteria that the second judge leaves undecided."""
        return int(self.counts[:, 2].sum())

    def flips(self, to: bool) -> int:
        """Criteria that the second judge changes to ``to``."""
        return int(self.counts[1 - to, int(to)])

    @property
    def _shares(self) -> Tensor:
        """``[2 2]``"""
        return self.counts[:2, :2].double() / self.decided


def agreements(first: Sequence[JudgedRollout], second: Sequence[JudgedRollout]) -> dict[str, Agreement]:
    """Agreement by the text of criteria, on the same responses in the same order; the sum is the total."""
    found: dict[str, Agreement] = {}
    for one, other in zip(first, second, strict=True):
        for criterion, a, b in zip(one.sample.criteria, one.as_desired, other.as_desired, strict=True):
            found.setdefault(criterion.label, Agreement()).counts[PLACES[a], PLACES[b]] += 1
    return found
