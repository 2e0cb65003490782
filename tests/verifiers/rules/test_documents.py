"""JSON and XML: what the whole answer is, and what stands beside other text."""

import pytest

from rtt_lightning.verifiers.rules.documents import is_json, is_xml


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
    ("answer", "met"),
    [
        ('{"a": {"b": 1}}', True),
        ('~~~json\n{"a": 1}\n~~~', True),
        ('```\r\n{"a": 1}\r\n```\r\n', True),
        ('\ufeff{"a": "x\u2028y"}', True),
        ('Here it is:\n```json\n{"a": {"b": 1}}\n```', None),
        ('Here it is: {"a": 1}.', None),
        ('{"a": NaN}', None),
        ('{"a": 1', False),
        ("{a: 1}", False),
        ("Here it is: {a}", False),
    ],
)
def test_json_beside_other_text_is_doubtful_with_and_without_a_limit(answer: str, met: bool | None) -> None:
    assert is_json(answer).met is met
    assert is_json(answer, 0, 3).met is met


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        ('<?xml version="1.0" encoding="utf-16"?>\r\n<a>é</a>', True),
        ("```xml\n<a/>\n```", True),
        ("Here:\n```xml\n<a/>\n```", None),
        ("Here: <a/>", None),
        ("<a><b></a>", False),
        ("a < b > c", False),
    ],
)
def test_xml_beside_other_text_is_doubtful(answer: str, met: bool | None) -> None:
    assert is_xml(answer).met is met
