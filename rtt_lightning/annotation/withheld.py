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

    They are drawn by a hash. Their last turn becomes the task and the other criteria that it asks for, with spaces
    between.

    Raises:
        UserError: If fewer prompts have a task apart from their criteria, and ask for two of these.
    """
    fit = [
        row
        for row, record in enumerate(records)
        if record.sample.task is not None and len(asked_for(record.sample)) > 1
    ]
    if len(fit) < count:
        raise UserError(
            f"--withheld {count} leaves a criterion out of so many prompts, and {len(fit)} of {len(records)} say what "
            "is asked apart from their criteria and ask for two of these: rows need the field `task`, the prompt "
            "without its criteria (docs/data.md), or take --edits, which does without"
        )
    drawn = {row: crc32(records[row].sample.id.encode("utf-8", "replace")) for row in fit}
    found = list(records)
    for row in sorted(fit, key=lambda row: (drawn[row], row))[:count]:
        places = asked_for(records[row].sample)
        found[row] = Record(without(records[row].sample, places[drawn[row] % len(places)]))
    return found


def asked_for(sample: RubricSample) -> list[int]:
    """The criteria that the prompt asks for, by index: those whose text stands in it, or all if none does."""
    last = sample.messages[-1]["content"]
    places = [place for place, criterion in enumerate(sample.criteria) if criterion.text in last]
    return places or [*range(len(sample.criteria))]


def without(sample: RubricSample, place: int) -> RubricSample:
    """A prompt whose text leaves a criterion out, by its index."""
    asked = [sample.criteria[other].text for other in asked_for(sample) if other != place]
    last = {**sample.messages[-1], "content": " ".join((sample.task or "", *asked))}
    return replace(sample, id=f"{sample.id}{MARK}{place + 1}", messages=(*sample.messages[:-1], last))
