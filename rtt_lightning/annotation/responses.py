"""Responses to label, whose criteria may have no verdict yet."""

from collections.abc import Mapping
from pathlib import Path

from rtt_lightning.datamodules.adapters.base import Adapter, Row
from rtt_lightning.datamodules.criteria import criteria_of
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.types import JudgedRollout


class PerhapsUndecided(Adapter):
    """The record schema, where a criterion beside a ``response`` need not have ``met``."""

    def __call__(self, row: Row) -> Row:
        if row.get("response") is None or "criteria" not in row:
            return row
        entries = criteria_of(row)
        return {**row, "criteria": [{"met": None, **each} if isinstance(each, Mapping) else each for each in entries]}


def read_responses(path: str | Path) -> list[JudgedRollout]:
    """The responses of a file or folder with their rubrics, see `read_judged`; what has no verdict is unscorable."""
    return read_judged(path, PerhapsUndecided())
