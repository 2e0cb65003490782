"""Processes that share a window, as threads that add up what they reduce."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import torch
from torch import Tensor

from rtt_lightning.algorithms import Algorithm
from rtt_lightning.types import Credited, Experience


def side_by_side(algorithm: Algorithm, parts: Sequence[Experience]) -> list[Credited]:
    """The credit that each process gives its part of a window."""
    meet, said = Barrier(len(parts), timeout=30), {}

    def credit(rank: int) -> Credited:
        def reduce(values: Tensor) -> Tensor:
            said[rank] = values
            meet.wait()
            total = torch.stack([said[other] for other in range(len(parts))]).sum(0)
            meet.wait()
            return total

        return algorithm(replace(parts[rank], reduce=reduce, rank=rank))

    with ThreadPoolExecutor(len(parts)) as threads:
        return list(threads.map(credit, range(len(parts))))


def share_of(window: Experience, rank: int, ranks: int) -> Experience:
    """What process ``rank`` holds of a window whose groups are numbered: every so many-th, numbered anew."""
    mine = window.rows(window.group_ids % ranks == rank)
    return replace(mine, group_ids=mine.group_ids // ranks, rank=rank)
