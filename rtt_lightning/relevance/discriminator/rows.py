"""Packed rows of an encoder, and of a body that reads all criteria at once.

An encoder reads to both sides, so that what it makes of a criterion would depend on the response behind it. With all
criteria at once a segment of its own keeps each from seeing the others and the response, and all begin at the same
position: neither their order nor the responses beside them change anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rtt_lightning.lm.attention import Segment, Segments, has_kernel
from rtt_lightning.lm.layout import Layout
from rtt_lightning.relevance.discriminator.readings import Reading
from rtt_lightning.types.batches import TokenBatch


@dataclass(frozen=True)
class Body:
    """How a body reads.

    Attributes:
        causal: To the right only.
        first: Number of its first position; RoBERTa and its like begin behind that of padding.
        device: Where it is.
    """

    causal: bool
    first: int
    device: torch.device


class PackedRow:
    """A row that grows by segments.

    Args:
        body: That will read it.
    """

    def __init__(self, body: Body) -> None:
        self.body, self.ids, self.positions, self.segments = body, list[int](), list[int](), list[Segment]()

    def add(self, ids: Sequence[int], position: int = 0, sees: slice = slice(0, 0)) -> slice:
        """Append a segment that begins at a position and sees another part of the row; returns its own part."""
        own = slice(len(self.ids), len(self.ids) + len(ids))
        self.ids += ids
        self.positions += range(self.body.first + position, self.body.first + position + len(ids))
        self.segments.append(Segment(own, sees if sees.stop > sees.start else slice(own.start, own.start)))
        return own

    def reading(self) -> dict[str, Tensor | Segments]:
        """What the body is told beside the ids; ``attention_mask`` keeps it from making one."""
        device = self.body.device
        return {
            "position_ids": torch.tensor([self.positions], device=device),
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
            "segments": Segments(self.segments, device, has_kernel(device), self.body.causal),
        }


def separate_row(batch: TokenBatch, body: Body) -> Layout:
    """One row in which prompt and response of each row of a batch see each other, and no others."""
    row, first = PackedRow(body), list[int]()
    lengths = batch["response_mask"].sum(1).tolist()
    rows = zip(batch["prompt_ids"].tolist(), batch["prompt_lengths"].tolist(), strict=True)
    for (prompt, before), response, length in zip(rows, batch["response_ids"].tolist(), lengths, strict=True):
        first.append(row.add([*prompt[:before], *response[:length]]).start + before)
    each, token = batch["response_mask"].nonzero(as_tuple=True)
    place = torch.tensor(first, device=body.device)[each] + token
    places = torch.zeros_like(place), place
    return Layout(torch.tensor([row.ids], device=body.device), row.reading(), (each, token), places, places)


@dataclass(frozen=True)
class RubricRow:
    """Rubrics, each before the responses that are read with it.

    Attributes:
        ids: ``[1 position]``.
        reading: What the body is told beside them.
        members: Positions that make up the states of criteria: their last ones or, of an encoder, all.
        owners: Number of the criterion of each of them.
        sizes: How many each criterion has.
        criteria: Of each response the numbers of its criteria, ``[rubric]``; 0 for one that is not read.
        tokens: Its positions.
    """

    ids: Tensor
    reading: dict[str, Tensor | Segments]
    members: Tensor
    owners: Tensor
    sizes: Tensor
    criteria: tuple[Tensor, ...]
    tokens: tuple[slice, ...]

    @property
    def count(self) -> int:
        """Number of criteria."""
        return len(self.sizes)


def rubric_row(readings: Sequence[Reading], body: Body) -> RubricRow:
    """One row of readings, at least one of whose criteria is read. A response begins behind the longest criterion, sees
    all criteria of its own, and itself.
    """
    row, members, owners = PackedRow(body), list[int](), list[int]()
    known: dict[tuple[tuple[int, ...], ...], tuple[slice, list[int]]] = {}

    def states(prefixes: Iterable[tuple[int, ...]]) -> list[int]:
        own: dict[tuple[int, ...], int] = {}  # a criterion that stands twice, as of two equal answers, is seen once
        for prefix in filter(None, prefixes):
            if prefix not in own:
                part, own[prefix] = row.add(prefix), owners[-1] + 1 if owners else 0
                places = [part.stop - 1] if body.causal else [*range(part.start, part.stop)]
                members.extend(places)
                owners.extend([own[prefix]] * len(places))
        return [own.get(prefix, 0) for prefix in prefixes]

    criteria, tokens = list[list[int]](), list[slice]()
    for reading in readings:
        if reading.prefixes not in known:
            start = len(row.ids)
            numbers = states(reading.prefixes)
            known[reading.prefixes] = slice(start, len(row.ids)), numbers
        rubric, numbers = known[reading.prefixes]
        own = row.add(reading.response.tolist(), max(map(len, reading.prefixes)), rubric)
        criteria.append(numbers)
        tokens.append(own)
    ids, where, whose = (torch.tensor(each, device=body.device) for each in ([row.ids], members, owners))
    of = tuple(torch.tensor(numbers, device=body.device) for numbers in criteria)
    return RubricRow(ids, row.reading(), where, whose, whose.bincount(), of, tuple(tokens))
