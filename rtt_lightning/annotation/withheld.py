"""Prompts that leave one criterion of their rubric out: the paper's second kind of negatives."""

from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

from rtt_lightning.datamodules.records import Record
from rtt_lightning.types import RubricSample
from rtt_lightning.types.errors import UserError

MARK = "/without/"
"""Stands in the id of such a prompt, before the number of the criterion, from 1."""


def withhold(records: Sequence[Record], count: int) -> list[Record]:
    """The same prompts, ``count`` of them without one criterion, which their rubric keeps.

    They are drawn by a hash. Their text becomes the task and the other criteria, joined by spaces, as the last turn.

    Raises:
        UserError: If fewer prompts have a task apart from their criteria, and two criteria.
    """
    fit = [
        row for row, record in enumerate(records) if record.sample.task is not None and len(record.sample.criteria) > 1
    ]
    if len(fit) < count:
        raise UserError(
            f"--withheld {count} leaves a criterion out of so many prompts, and {len(fit)} of {len(records)} say what "
            "is asked apart from their criteria and have two of these: rows need the field `task`, the prompt without "
            "its criteria (docs/data.md), or take --edits, which does without"
        )
    drawn = {row: crc32(records[row].sample.id.encode("utf-8", "replace")) for row in fit}
    chosen = {*sorted(fit, key=lambda row: (drawn[row], row))[:count]}
    return [
        Record(without(record.sample, drawn[row] % len(record.sample.criteria))) if row in chosen else record
        for row, record in enumerate(records)
    ]


def without(sample: RubricSample, place: int) -> RubricSample:
    """A prompt whose text leaves a criterion out, by its index."""
    asked = [criterion.text for index, criterion in enumerate(sample.criteria) if index != place]
    last = {**sample.messages[-1], "content": " ".join((sample.task or "", *asked))}
    return replace(sample, id=f"{sample.id}{MARK}{place + 1}", messages=(*sample.messages[:-1], last))
