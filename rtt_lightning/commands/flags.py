"""Flags with null in their value, for arguments of a class."""

import re
from collections.abc import Sequence
from typing import Any

from rtt_lightning.commands.given import Given

NESTED = re.compile(r"--(?:\w+\.)+init_args\.[\w.]+")


def nulls_as_yaml(given: Sequence[Given]) -> list[Given]:
    """Each such flag, like ``--a.init_args.b.init_args.c null``, as a ``--config`` of YAML in its place.

    From one class to a class within it, jsonargparse (4.53) passes the value of a flag on as Python prints it, and null
    comes out as the text "None".
    """
    return [
        each.saying("--config", each.tree) if NESTED.fullmatch(each.flag) and _null_within(each.value) else each
        for each in given
    ]


def _null_within(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_null_within, value.values()))
    return value is None or (isinstance(value, list) and any(map(_null_within, value)))
