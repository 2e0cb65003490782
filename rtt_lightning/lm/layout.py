"""How the body reads a batch: in one packed row with each prompt once, or in padded rows of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rtt_lightning.lm.attention import Segment, Segments, has_kernel
from rtt_lightning.types.batches import TokenBatch


@dataclass(frozen=True)
class Layout:
    """What the body reads, and where in it each response stands: all that depends on the numbers of a batch.

    Attributes:
        ids: ``[row position]`` tokens.
        reading: What the body is told beside them.
        cells: Row and column in the batch of each response token, ``[response token]`` each.
        places: Row and position of the state of each of them, likewise.
        predictors: Row and position of the state that predicts each of them, likewise.
    """

    ids: Tensor
    reading: dict[str, Tensor | Segments]
    cells: tuple[Tensor, Tensor]
    places: tuple[Tensor, Tensor]
    predictors: tuple[Tensor, Tensor]


def layout_of(batch: TokenBatch, share: bool) -> Layout:
    """One packed row if responses may ``share`` the computation of their prompt, else padded rows."""
    return packed_row(batch) if share else padded_rows(batch)


def padded_rows(batch: TokenBatch) -> Layout:
    """Prompt and response of each row, right-padded. Positions are left to the model, which counts them itself."""
    starts, mask = batch["prompt_lengths"], batch["response_mask"]
    row, token = mask.nonzero(as_tuple=True)
    total = starts + mask.sum(1)
    ids = starts.new_zeros(len(starts), int(total.max()))
    in_prompt = torch.arange(batch["prompt_ids"].shape[1], device=starts.device) < starts[:, None]
    ids[in_prompt.nonzero(as_tuple=True)] = batch["prompt_ids"][in_prompt]
    place = starts[row] + token
    ids[row, place] = batch["response_ids"][mask]
    seen = (torch.arange(ids.shape[1], device=starts.device) < total[:, None]).long()
    return Layout(ids, {"attention_mask": seen}, (row, token), (row, place), (row, place - 1))


def packed_row(batch: TokenBatch) -> Layout:
    """One row: each prompt, followed by the responses to it, which have the positions that they would have alone.

    ``attention_mask`` keeps the model from making one: the attention reads the segments.
    """
    prompts, mask = batch["prompt_ids"], batch["response_mask"]
    lengths = mask.sum(1).tolist()
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, (prompt, length) in enumerate(zip(prompts.tolist(), batch["prompt_lengths"].tolist(), strict=True)):
        rows_of.setdefault(tuple(prompt[:length]), []).append(row)
    segments, first, ends, at = [], [0] * len(lengths), [0] * len(lengths), 0
    for prompt, rows in rows_of.items():
        prefix = slice(at, at + len(prompt))
        segments.append(Segment(prefix, slice(at, at)))
        at = prefix.stop
        for row in rows:
            first[row], ends[row] = at, prefix.stop - 1
            segments.append(Segment(slice(at, at + lengths[row]), prefix))
            at += lengths[row]
    device = prompts.device
    row, token = mask.nonzero(as_tuple=True)
    place = torch.tensor(first, device=device)[row] + token
    ids, positions = prompts.new_zeros(2, 1, at)
    for prompt, rows in rows_of.items():
        start = ends[rows[0]] + 1 - len(prompt)
        ids[0, start : start + len(prompt)] = prompts[rows[0], : len(prompt)]
        positions[0, start : start + len(prompt)] = torch.arange(len(prompt), device=device)
    ids[0, place], positions[0, place] = batch["response_ids"][mask], batch["prompt_lengths"][row] + token
    reading = {
        "position_ids": positions,
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "segments": Segments([segment for segment in segments if segment.length], device, has_kernel(device)),
    }
    before = torch.where(token == 0, torch.tensor(ends, device=device)[row], place - 1)
    first_row = torch.zeros_like(row)
    return Layout(ids, reading, (row, token), (first_row, place), (first_row, before))


def tokens_read(batch: TokenBatch, share: bool) -> int:
    """Tokens that the body reads of a batch, padding included: in one row (``share``) or in rows of their own."""
    starts, lengths = batch["prompt_lengths"].tolist(), batch["response_mask"].sum(1).tolist()
    if not share:
        return len(starts) * max(map(sum, zip(starts, lengths, strict=True)), default=0)
    rows = zip(batch["prompt_ids"].tolist(), starts, strict=True)
    return sum(map(len, {tuple(prompt[:start]) for prompt, start in rows})) + sum(lengths)
