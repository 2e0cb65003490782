"""A sized, stateful loader: resumes where it stopped, in the same order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from rtt_lightning.types.batches import Batch
from rtt_lightning.types.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """The part of the data that a process takes: every ``ranks``-th item, from ``rank`` on."""

    rank: int = 0
    ranks: int = 1

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        return items[self.rank :: self.ranks]


ALL = Share()
"""One process takes everything."""


class StatefulLoader:
    """Yields the batches of an epoch; its state is the epoch and the number of batches handed out.

    Every iteration is a new epoch, even if the previous one was not finished (the trainer never exhausts a sized
    loader). Only the first iteration after `load_state_dict` continues where the state stopped.

    Args:
        make_batches: Epoch number to the batches of that epoch; a pure function, with equally many for each epoch.
        settings: Numbers that the order of batches depends on, by name: a state is valid only with the same ones.
        together: Number of batches that belong together: an epoch must not end between them.
    """

    def __init__(
        self,
        make_batches: Callable[[int], Sequence[Batch]],
        settings: Mapping[str, int] | None = None,
        together: int = 1,
    ) -> None:
        self._make_batches = make_batches
        self._settings = dict(settings or {})
        self.together = together
        self._length = self._end = len(make_batches(0))
        self._epoch, self._position, self._resuming = 0, 0, False

    def __len__(self) -> int:
        return self._length

    @property
    def groups(self) -> int:
        """Batches that belong together, such as windows: how many of them an epoch has where nothing ends it early."""
        return self._length // self.together

    def after(self, group: int) -> Batch:
        """The first batch after those that belong together under a number, which counts on from epoch to epoch."""
        epoch, place = divmod(group + 1, self.groups)
        if place * self.together >= self._end:
            epoch, place = epoch + 1, 0
        return self._make_batches(epoch)[place * self.together]

    def stop_after(self, batches: int) -> None:
        """End epochs after this many batches, as the trainer does."""
        self._end = min(batches, self._length)

    def __iter__(self) -> Iterator[Batch]:
        if self._position and not self._resuming:
            self._epoch, self._position = self._epoch + 1, 0
        self._resuming = False
        for batch in self._make_batches(self._epoch)[self._position :]:
            self._position += 1
            yield copy(batch)  # the rollout callback fills it in

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "position": self._position, "settings": self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the state stopped.

        Raises:
            UserError: If its settings differ: data would be skipped or repeated.
        """
        saved = state["settings"]
        if saved != self._settings:
            names = [name for name in {**saved, **self._settings} if saved.get(name) != self._settings.get(name)]
            then, now = (
                ", ".join(f"{name} {of.get(name, 'none')}" for name in names) for of in (saved, self._settings)
            )
            raise UserError(
                f"the checkpoint counts its place in the training data with {then}, this run with {now}; resume with "
                "the former, or start a new run from the exported model"
            )
        self._epoch, self._position = state["epoch"], state["position"]
        self._resuming = self._position < self._end


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of ``range(count)`` that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()
