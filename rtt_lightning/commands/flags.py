"""Flags with null in their value, for arguments of a class."""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

NESTED = re.compile(r"--((?:\w+\.)+init_args\.[\w.]+)(?:=(.*))?", re.DOTALL)


def nulls_as_yaml(args: Sequence[str]) -> list[str]:
    """Arguments with each such flag, like ``--a.init_args.b.init_args.c null``, as a ``--config`` of YAML in its place.

    From one class to a class within it, jsonargparse (4.53) passes the value of a flag on as Python prints it, and null
    comes out as the text "None".
    """
    given, found = list(args), list[str]()
    while given:
        arg = given.pop(0)
        match = NESTED.fullmatch(arg)
        if match is None:
            found.append(arg)
        elif match[2] is None and given and _holds_null(given[0]):
            found += ["--config", _as_yaml(match[1], given.pop(0))]
        elif match[2] is not None and _holds_null(match[2]):
            found += ["--config", _as_yaml(match[1], match[2])]
        else:
            found.append(arg)
    return found


def _as_yaml(key: str, value: str) -> str:
    nested = yaml.safe_load(value)
    for name in reversed(key.split(".")):
        nested = {name: nested}
    return json.dumps(nested)


def _holds_null(value: str) -> bool:
    try:
        return value.strip() != "" and _null_within(yaml.safe_load(value))
    except yaml.YAMLError:
        return False  # text


def _null_within(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_null_within, value.values()))
    return value is None or (isinstance(value, list) and any(map(_null_within, value)))
