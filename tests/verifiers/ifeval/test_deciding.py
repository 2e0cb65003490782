"""Which characters decide an IFEval verdict: by hand, and on the answers of `tests/assets` for every id."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.verifiers.ifeval import ifeval_checkers, instruction_classes
from rtt_lightning.verifiers.ifeval.checkers import COUNTED, GLOBAL
from rtt_lightning.verifiers.ifeval.deciding import LOCAL, deciding_spans
from tests.conftest import ROOT

TEXT = "Tea is calm, tea is *warm*.\n* one [name]\n- two\nSECTION 1\n<<A title>>\nP.S. Drink it\nAny questions?"
CAPITALS = {"capital_frequency": 1, "capital_relation": "at least"}
CASES = [
    ("keywords:existence", {"keywords": ["tea", "warm"]}, ["Tea", "tea", "warm"], None),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "at least"}, ["Tea", "tea"], None),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "less than"}, None, ["Tea", "tea"]),
    ("keywords:forbidden_words", {"forbidden_words": ["calm", "rain"]}, None, ["calm"]),
    ("keywords:letter_frequency", {"letter": "k", "let_frequency": 1, "let_relation": "at least"}, ["k"], None),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, ["[name]"], None),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["P.S. Drink it"], None),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* one [name]", "- two"], None),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, ["*warm*"], None),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 1}, ["SECTION 1"], None),
    ("detectable_format:title", {}, ["<<A title>>"], None),
    ("combination:repeat_prompt", {"prompt_to_repeat": "tea is calm"}, ["Tea is calm"], None),
    ("startend:end_checker", {"end_phrase": "any questions?"}, ["Any questions?"], None),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 1, "capital_relation": "at least"},
        ["SECTION", "A", "P.S"],
        None,
    ),
    ("punctuation:no_comma", {}, None, [","]),
]


@pytest.mark.parametrize(("name", "kwargs", "when_met", "when_not"), CASES)
def test_local_instructions_are_decided_by_what_satisfies_or_violates_them(
    name: str, kwargs: dict, when_met: list[str] | None, when_not: list[str] | None
) -> None:
    met = when_met is not None
    assert ifeval_checkers()[name](TEXT, **kwargs).met in (met, None)  # None where an NLTK resource is missing
    assert [TEXT[a:b] for a, b in deciding_spans(name, TEXT, met, kwargs) or ()] == (when_met or when_not)
    assert deciding_spans(name, TEXT, not met, kwargs) == ()  # decided by an absence


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("startend:quotation", ' "All of it." ', ['"', '"']),
    ("detectable_format:constrained_response", "My answer is yes. Why not?", ["My answer is yes."]),
])  # fmt: skip
def test_instructions_on_the_whole_answer_that_small_parts_decide(name: str, text: str, expected: list[str]) -> None:
    verdict = ifeval_checkers()[name](text)
    assert verdict.met
    assert [text[a:b] for a, b in verdict.spans or ()] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm happy", ["I"]),
        ("NASA's big", ["NASA"]),
        ('He said "IBM\'s" name', ["IBM"]),
        ("OK... go", ["OK"]),
        ("I’M fine", ["I", "M"]),
        ("An X-RAY in the U.S.", ["X-RAY", "U.S"]),
        ("\"HI\" and ``YES'' and 'NO'", ["HI", "YES", "NO"]),
        ("DON'T GO", ["DO", "N'T", "GO"]),
        ("A1 3D\r\nB", ["A1", "3D", "B"]),
    ],
)
def test_words_in_capitals_are_those_that_the_evaluator_counts(text: str, expected: list[str]) -> None:
    verdict = ifeval_checkers()["change_case:capital_word_frequency"](text, **CAPITALS | {"capital_frequency": 1})
    if verdict.met is None:
        pytest.skip(verdict.reason)
    assert [text[a:b] for a, b in verdict.spans or ()] == expected
    exact = {"capital_frequency": len(expected), "capital_relation": "at least"}
    assert ifeval_checkers()["change_case:capital_word_frequency"](text, **exact).met is True
    more = {"capital_frequency": len(expected) + 1, "capital_relation": "at least"}
    assert ifeval_checkers()["change_case:capital_word_frequency"](text, **more).met is False


@pytest.mark.parametrize(
    ("name", "kwargs", "text", "expected"),
    [
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "* * and *b*", ["*b*"]),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "x **b** y", ["**b**"]),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "\n\n  * a\n\n - b \n", ["* a", "- b"]),
        ("detectable_format:title", {}, "<<  >>\n<<A>>", ["<<A>>"]),
        ("keywords:letter_frequency", {"letter": "S", "let_frequency": 1, "let_relation": "at least"}, "sſS", [*"sS"]),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye\n p. p.s. x ", ["p. p.s. x"]),
        ("combination:repeat_prompt", {"prompt_to_repeat": "say it "}, "\n Say it now", ["Say it"]),
        ("keywords:frequency", {"keyword": " tea ", "frequency": 1, "relation": "at least"}, "teapot", ["tea"]),
    ],
)  # fmt: skip
def test_spans_are_what_the_evaluator_counts_without_white_space(
    name: str, kwargs: dict, text: str, expected: list[str]
) -> None:
    verdict = ifeval_checkers()[name](text, **kwargs)
    assert verdict.met is True
    assert [text[a:b] for a, b in verdict.spans or ()] == expected


def test_counted_instructions_are_global_and_tell_their_places() -> None:
    verdict = ifeval_checkers()["keywords:frequency"]("tea, tea", keyword="tea", frequency=2, relation="at least")
    assert (verdict.scope, verdict.spans, verdict.relevant(8)) == ("global", ((0, 3), (5, 8)), ((0, 8),))
    verdict = ifeval_checkers()["keywords:existence"]("tea, tea", keywords=["tea"])
    assert (verdict.scope, verdict.relevant(8)) == ("local", ((0, 3), (5, 8)))
    assert set(LOCAL) >= COUNTED


def test_global_instructions_are_decided_by_every_character() -> None:
    verdict = ifeval_checkers()["length_constraints:number_words"]("one two", num_words=5, relation="at least")
    assert (verdict.met, verdict.spans) == (False, ((0, 7),))


def test_a_pattern_that_stands_only_by_itself_is_not_told() -> None:
    assert deciding_spans("keywords:existence", "tea", True, {"keywords": ["x?tea", "(?i)TEA"]}) is None


def test_every_id_is_known_and_every_id_of_ifeval_is_told() -> None:
    known = set(instruction_classes())
    assert GLOBAL | set(LOCAL) <= known
    with (ROOT / "tests/assets/ifeval_rows.jsonl").open() as rows:
        used = {name for row in map(json.loads, rows) for name in row["instruction_id_list"]}
    assert used <= GLOBAL | set(LOCAL)
    assert len(used) == 25


@given(st.text(max_size=60), st.sampled_from([case[:2] for case in CASES]), st.booleans())
def test_spans_are_ordered_and_lie_within_the_answer(text: str, case: tuple[str, dict], met: bool) -> None:
    spans = deciding_spans(case[0], text, met, case[1])
    ends = [position for span in spans or () for position in span]
    assert ends == sorted(ends)
    assert all(0 <= position <= len(text) for position in ends)
