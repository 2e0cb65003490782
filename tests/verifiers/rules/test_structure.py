"""Tables, headings, lists and bold text: where readers would differ, no verdict."""

import pytest

from rtt_lightning.verifiers.rules.counts import paragraphs
from rtt_lightning.verifiers.rules.structure import bold, bullet_list, bullets, heading, heading_levels
from rtt_lightning.verifiers.rules.tables import table


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


TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.mark.parametrize("rule", ["* * *", "- - -", "***", "---", " -  -  - ", "_ _ _", "- - - - -"])
def test_a_rule_is_no_item_and_no_heading(rule: str) -> None:
    answer = f"- one\n\n{rule}\n"
    assert bullet_list(answer, 1).met is True
    assert bullet_list(answer, 2).met is bullets(answer, 2, 2).met is False
    assert bullets(answer, only=True).met is None
    assert heading(answer, 2).met is False
    assert paragraphs(f"One.\n\n{rule}\n\nTwo.", 2).met is None


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_what_stands_in_a_block_of_code_is_doubtful(fence: str) -> None:
    def fenced(text: str) -> str:
        return f"Look:\n{fence}md\n{text}\n{fence}\n"

    assert bullet_list(fenced("- one\n- two"), 2).met is bullets(fenced("- one"), 1).met is None
    assert heading(fenced("# Tea"), 1).met is heading_levels(f"# A\n{fenced('## b')}", high=1).met is None
    assert table(fenced(TABLE)).met is bold(fenced("**a**")).met is None
    assert bullets(f"{fenced('- one')}\n- two", 1).met is True


@pytest.mark.parametrize(
    ("answer", "level", "title", "met", "spans"),
    [
        ("  ## Tea ##  \nx", 2, "Tea", True, ["## Tea"]),
        ("## Learn C#\nx", 2, "learn c#", True, ["## Learn C#"]),
        ("## \nx", 2, None, False, []),
        ("## ##\nx", 2, None, False, []),
        ("##Tea", 2, None, False, []),
        ("Tea\n---\nx", 2, None, None, None),
        ("Tea\n===", 1, "Tea", None, None),
        ("- a\n---", 2, None, False, []),
    ],
)
def test_headings(answer: str, level: int, title: str | None, met: bool | None, spans: list[str] | None) -> None:
    verdict = heading(answer, level, title)
    found = None if verdict.spans is None else [answer[a:b] for a, b in verdict.spans]
    assert (verdict.met, found) == (met, spans)


def test_items_decide_without_what_surrounds_them() -> None:
    answer = "  - one \r\n* two\r\n"
    assert [answer[a:b] for a, b in bullet_list(answer, 2).spans or ()] == ["- one", "* two"]


@pytest.mark.parametrize(
    ("answer", "kwargs", "met"),
    [
        ("no table", {}, False),
        ("no table", {"required": False, "high_rows": 3}, None),
        ("no table", {"required": None}, None),
        (TABLE, {"required": False, "high_rows": 3}, True),
        ("| a | b |\n| 1 | 2 |", {}, None),
        ("<table><tr><td>1</td></tr></table>", {}, None),
        ("| a | b |", {}, False),
        ("a | b\n- | -\n1 | 2", {"low_columns": 2, "high_columns": 2}, True),
        ("| | b |\n|---|---|\n| 1 | 2 |", {"low_columns": 2, "high_columns": 2}, True),
        (r"| a \| b |" + "\n|---|\n| 1 |", {"high_columns": 1}, True),
    ],
)
def test_tables(answer: str, kwargs: dict, met: bool | None) -> None:
    assert table(answer, **kwargs).met is met


@pytest.mark.parametrize(
    ("answer", "met"),
    [("x **a** y", True), ("***a***", True), ("__a b__", True), ("**** ** **", False), ("* * *\n* * *", False),
     ("`**a**`", None), ("<b>a</b>", None), ("**a\nb**", None), ("2 * 3 * 4", False)],
)  # fmt: skip
def test_bold_text(answer: str, met: bool | None) -> None:
    assert bold(answer).met is met
