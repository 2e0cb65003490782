"""Prompts that leave one criterion of their rubric out: the paper's second kind of negatives."""

from collections.abc import Sequence
from zlib import crc32

from rtt_lightning.datamodules.records import Record
from rtt_lightning.types.asked import asked_for, without
from rtt_lightning.types.errors import UserError


def withhold(records: Sequence[Record], count: int) -> list[Record]:
    """The same prompts, ``count`` of them without one criterion, which their rubric keeps.

    They are drawn by a hash, and changed as `rtt_lightning.types.asked.without` does.

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
