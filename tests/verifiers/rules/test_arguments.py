"""Arguments of checkers, their names and kinds; `test_checkers.py` has what is said of wrong ones."""

from inspect import signature
from types import UnionType
from typing import get_args

import pytest

from rtt_lightning.verifiers.rules import RULES
from rtt_lightning.verifiers.rules.arguments import KINDS, misnamed


@pytest.mark.parametrize("name", RULES)
def test_every_argument_of_a_rule_is_of_a_known_kind(name: str) -> None:
    _, *parameters = signature(RULES[name]).parameters.values()
    for kind in (each.annotation for each in parameters):
        assert {*(get_args(kind) if isinstance(kind, UnionType) else (kind,))} <= {*KINDS}, "add it to KINDS"


def test_a_checker_without_a_signature_takes_anything() -> None:
    assert misnamed(max, {"key": len}) == ""
