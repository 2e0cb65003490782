"""What a discriminator reads at once: criteria and a response in tokens; and long ones in windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rtt_lightning.types import Span

Texts = tuple[tuple[str, ...], str]
"""Criteria that are read at once, and the response."""


@dataclass(frozen=True)
class Reading:
    """Criteria and a response in tokens.

    Attributes:
        prefixes: Tokens before the response, for each criterion; empty for a criterion that leaves no room for it.
            Readings with the same ones may share the computation of them.
        response: ``[token]``.
        offsets: The characters that each of its tokens carries.
    """

    prefixes: tuple[tuple[int, ...], ...]
    response: Tensor
    offsets: Sequence[Span]

    @property
    def read(self) -> list[bool]:
        """Whether each criterion is read."""
        return [bool(prefix) and len(self.response) > 0 for prefix in self.prefixes]

    @property
    def before(self) -> int:
        """Tokens of its criteria."""
        return sum(map(len, self.prefixes))


NOTHING = Reading(((0,),), torch.zeros(1, dtype=torch.long), ((0, 0),))
"""What the network reads where there is nothing to read."""


class Window(NamedTuple):
    """Tokens from ``start`` to ``stop`` of a response are read at once, and what is found for those from ``first`` to
    ``last`` is kept.
    """

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, room: int) -> list[Window]:
    """A response in windows of ``room`` tokens, of which successive ones share a quarter or more, at least one token;
    each token is kept of the window in whose middle it is most. Example: 10 tokens, 8 at a time: tokens 0 to 8, and 2
    to 10, kept up to and from token 5.
    """
    if length <= room:
        return [Window(0, length, 0, length)]
    step = max(1, room - -(-room // 4))
    starts = [*range(0, length - room, step), length - room]
    borders = [0, *((later + earlier + room) // 2 for earlier, later in pairwise(starts)), length]
    return [Window(start, start + room, *kept) for start, kept in zip(starts, pairwise(borders), strict=True)]


class Piece(NamedTuple):
    """A window of a reading, itself a reading, and its place: the first row of the reading and the window."""

    reading: Reading
    row: int
    window: Window


def pieces(readings: Sequence[Reading], longest: int) -> Iterator[Piece]:
    """The windows of readings of which something is read; ``longest`` tokens go into one."""
    row = 0
    for reading in readings:
        if any(reading.read):
            room = longest - max(map(len, reading.prefixes))
            for window in windows(len(reading.response), room):
                part = reading.response[window.start : window.stop]
                yield Piece(replace(reading, response=part), row, window)
        row += len(reading.prefixes)
