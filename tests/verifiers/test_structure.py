"""JSON, headings and lists: where readers would differ, no verdict."""

import pytest

from rtt_lightning.verifiers.structure import bullets, heading_levels, is_json


@pytest.mark.parametrize(
    ("answer", "kind", "met"),
    [
        ("[1]", "array", True),
        ("[1]", "object", False),
        ("{}", "object", True),
        ("{}", "array", False),
        ("3", "array", False),
        ("3", None, None),
    ],
)
def test_json_of_a_kind(answer: str, kind: str | None, met: bool | None) -> None:
    assert is_json(answer, kind=kind).met is met


def test_an_unknown_kind_of_json_is_refused() -> None:
    with pytest.raises(ValueError, match="'list'"):
        is_json("[1]", kind="list")


@pytest.mark.parametrize(
    ("answer", "met"), [("no heading", None), ("### A", True), ("# A\n#### B", False), (" ", False)]
)
def test_levels_without_headings_are_doubtful(answer: str, met: bool | None) -> None:
    assert heading_levels(answer, high=3).met is met


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        ("- one\n- two", True),
        ("- one\n  goes on\n\n- two", True),
        ("Much prose.\n- one", None),
        ("- one\n\nMuch prose.", None),
        ("Much prose.", False),
    ],
)
def test_text_outside_the_list_that_is_all_of_an_answer(answer: str, met: bool | None) -> None:
    assert bullets(answer, only=True).met is met
