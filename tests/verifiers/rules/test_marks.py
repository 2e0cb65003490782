"""Punctuation marks: those that every reader counts, and those that are part of something else to some."""

import pytest

from rtt_lightning.verifiers.rules.marks import (
    end_mark,
    exclamation,
    include_mark,
    include_number,
    mark_count,
    marks,
    no_commas,
    no_mark,
    question,
)

PARTS = [
    (".", "It costs 3.50 today"),
    (".", "See example.com now"),
    (".", "Some fruit, e.g. pears"),
    (".", "Dr. Who"),
    (".", "1. Tea"),
    (".", "Tea\r\n 12. Milk"),
    (".", "Version 2.0.1 is out"),
    (".", "Wait... no"),
    (".", "Wait… no"),
    (".", "Mail a@tea.com now"),
    (".", "The `tea.py` file"),
    (":", "At 10:30 we go"),
    (":", "See https://tea.org now"),
    (":", "Nice :)"),
    (",", "It has 1,000 rows"),
    (";", "Milk &amp; tea"),
    ("!", "where a != b"),
    ("?", "See https://tea.org/?q=1"),
    ("?", "See tea.org/?q=1"),
]


@pytest.mark.parametrize(("mark", "answer"), PARTS)
def test_a_mark_that_may_be_part_of_something_is_doubtful(mark: str, answer: str) -> None:
    assert no_mark(answer, mark).met is None
    assert include_mark(answer, mark).met is None
    assert mark_count(answer, mark, 0, 0).met is None
    assert no_mark(f"{answer} and so on{mark} Yes", mark).met is False


@pytest.mark.parametrize(
    ("mark", "answer", "certain", "most"),
    [
        (".", "It costs 3.50 today.", 1, 2),
        (".", "One. Two. Three", 2, 2),
        (",", "tea,milk, jam，rice、oil", 4, 4),
        ("!", "Go!Then stop！", 2, 2),
        ("...", "a... b… c.... d..", 2, 4),
        ("—", "a — b", 1, 1),
        ("?", "no", 0, 0),
    ],
)
def test_how_many_marks_there_are(mark: str, answer: str, certain: int, most: int) -> None:
    found = marks(answer, mark)
    assert (len(found.certain), found.most) == (certain, most)


@pytest.mark.parametrize(
    ("mark", "answer", "met", "spans"),
    [
        (".", "Well.", True, ["."]),
        (".", "Well。\r\n", True, ["。"]),
        (".", "(So it was).", True, ["."]),
        (".", "Well...", None, None),
        (".", "Well…", None, None),
        (".", "Well..", None, None),
        (".", "Well?.", None, None),
        (".", "Well. 🙂", None, None),
        (".", "**Well.**", None, None),
        (".", "Well!", False, []),
        ("...", "Well...", True, ["..."]),
        ("...", "Well…", True, ["…"]),
        ("...", "Well……", True, ["……"]),
        ("...", "Well....", None, None),
        ("...", "Well.", False, []),
        ("?", "Really?!", None, None),
        ("!", "Really?!", None, None),
        ("?", "Really??", True, ["?"]),
        (";", "tea;", True, [";"]),
    ],
)
def test_the_mark_at_the_end(mark: str, answer: str, met: bool | None, spans: list[str] | None) -> None:
    verdict = end_mark(answer, mark)
    found = None if verdict.spans is None else [answer[a:b] for a, b in verdict.spans]
    assert (verdict.met, found) == (met, spans)


def test_the_kinds_of_the_sampler_count_marks_alike() -> None:
    assert no_commas("It has 1,000 rows").met is None
    assert question("See https://tea.org/?q=1").met is exclamation("a != b").met is None
    assert question("Why？").spans == ((3, 4),)


@pytest.mark.parametrize(
    ("answer", "met", "spans"),
    [
        ("It costs 3.50 or 1,000", True, ["3.50", "1,000"]),
        ("At 10:30", True, ["10:30"]),
        ("1. Tea\n2) Milk", None, None),
        ("H2O", None, None),
        ("See https://tea.org/7", None, None),
        ("Seven", False, []),
    ],
)
def test_numbers_in_digits(answer: str, met: bool | None, spans: list[str] | None) -> None:
    verdict = include_number(answer)
    found = None if verdict.spans is None else [answer[a:b] for a, b in verdict.spans]
    assert (verdict.met, found) == (met, spans)
