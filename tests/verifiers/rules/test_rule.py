"""What all built-in checkers share: line ends and spaces decide nothing, blank answers meet nothing, scopes."""

import asyncio
import inspect
from typing import Any

import pytest

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.rules import RULES, RuleVerifier
from rtt_lightning.verifiers.rules.checkers import Checkers
from rtt_lightning.verifiers.rules.counts import max_words
from rtt_lightning.verifiers.rules.letters import capitalized, lowercase, uppercase
from rtt_lightning.verifiers.rules.text import plain
from rtt_lightning.verifiers.rules.words import word_count

ROWS = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 9
LINES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("table", {"high_rows": 3, "required": False}, ROWS, False),
    ("table", {}, ROWS, True),
    ("bullet_list", {"n": 2}, "- one\n- two\n", True),
    ("bullets", {"low": 2, "high": 2, "only": True}, "* one\n+ two\n", True),
    ("heading", {"level": 2, "title": "Tea"}, "Text\n## Tea\nmore", True),
    ("heading_levels", {"high": 3}, "x\n#### Tea\n", False),
    ("paragraphs", {"n": 2}, "One.\n\nTwo.\n", True),
    ("count_paragraphs", {"low": 2, "high": 2}, "One.\n\nTwo.\n", True),
    ("count_sentences", {"low": 2, "high": 2}, "One.\nTwo.\n", True),
    ("sentence_count", {"low": 2, "high": 2}, "One.\nTwo.\n", True),
    ("count_words", {"low": 3, "high": 3}, "one\ntwo\n\nthree\n", True),
    ("title", {}, "<<Tea\ntime>>", False),
    ("end_mark", {"mark": "."}, "Done.\n\n", True),
    ("end_punctuation", {}, "Done!\n\n", True),
    ("postscript", {}, "Bye.\n\nP.S. Write", True),
    ("is_json", {}, '```json\n{"a": 1}\n```\n', True),
    ("is_xml", {}, "```xml\n<a>\n</a>\n```\n", True),
    ("bold", {}, "**a**\nb\n", True),
]


@pytest.mark.parametrize(("kind", "kwargs", "answer", "met"), LINES, ids=[row[0] for row in LINES])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85"], ids=ascii)
def test_line_ends_decide_nothing(kind: str, kwargs: dict[str, Any], answer: str, met: bool, end: str) -> None:
    text = answer.replace("\n", end)
    usual, verdict = (Checkers({}).decide(Criterion("x", f"rtt:{kind}", kwargs), a) for a in (answer, text))
    assert (verdict.met, usual.met) == (met, met)
    found = [[a[x:y].replace(end, "\n") for x, y in v.spans or ()] for v, a in ((verdict, text), (usual, answer))]
    assert found[0] == found[1]


def test_plain_text_is_as_long_as_the_answer() -> None:
    text = "a\r\nb\rc\u2028d\u00a0e\tf\u3000g\x85h"
    assert plain(text) == "a \nb\nc\nd e f g\nh"
    assert len(plain(text)) == len(text)


@pytest.mark.parametrize("answer", ["", " \n", "\u00a0\u3000", "\u200b", "\ufeff\u2060"], ids=ascii)
def test_what_nobody_can_see_meets_nothing(answer: str) -> None:
    criteria = [
        ("max_words", {"n": 5}),
        ("lowercase", {}),
        ("no_commas", {}),
        ("forbid_word", {"word": "a"}),
        ("no_keywords", {"words": ["a"]}),
        ("no_mark", {"mark": "."}),
        ("count_words", {"high": 5}),
        ("table", {"required": False}),
        ("heading_levels", {}),
        ("language", {"language": "en"}),
        ("is_json", {"high": 3}),
    ]
    verdicts = [Checkers({}).decide(Criterion("x", f"rtt:{kind}", kwargs), answer) for kind, kwargs in criteria]
    assert [(verdict.met, verdict.spans) for verdict in verdicts] == [(False, ())] * len(criteria)


@pytest.mark.parametrize("answer", ["12345 🙂", "...", "🙂"])
def test_letters_are_needed_for_a_letter_case(answer: str) -> None:
    assert [check(answer).met for check in (lowercase, uppercase, capitalized)] == [False] * 3


def test_scripts_without_capitals_have_no_letter_case() -> None:
    assert [check("茶が好き").met for check in (lowercase, uppercase, capitalized)] == [None] * 3


def test_counts_are_global_and_tell_what_was_counted() -> None:
    verdict = word_count("Tea, tea", "tea", 2)
    assert (verdict.scope, verdict.spans, verdict.relevant(8)) == ("global", ((0, 3), (5, 8)), ((0, 8),))
    assert word_count("Tea", "tea", 2).relevant(3) == ((0, 3),)
    assert max_words("Tea", 2).scope == "global"
    assert {kind.removeprefix("rtt:") for kind, rule in RULES.items() if rule.scope == "global"} >= {
        "keyword_count", "mark_count", "word_count", "bullets", "bullet_list", "capital_word", "min_words", "max_words",
        "sentence_count", "distinct_words", "paragraphs", "count_words", "count_sentences", "count_paragraphs",
        "uppercase", "capitalized", "language", "is_json", "is_xml",
    }  # fmt: skip


def test_one_check_has_several_names_and_scopes() -> None:
    for answer in ("a,b", "1,000", "ab"):
        count, none = (Checkers({}).decide(Criterion("x", f"rtt:{kind}", kwargs), answer) for kind, kwargs in (
            ("mark_count", {"mark": ",", "low": 0, "high": 0}), ("no_commas", {})
        ))  # fmt: skip
        assert (count.met, count.spans, count.reason) == (none.met, none.spans, none.reason)
        assert count.met is None or (count.scope, none.scope) == ("global", "local")
    wrong = Checkers({}).decide(Criterion("x", "rtt:no_commas", {"mark": "."}), "x")
    assert wrong.reason == "rtt:no_commas: TypeError: no_commas() got an unexpected keyword argument 'mark'"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_verifier_can_give_another_scope(workers: int) -> None:
    criteria = (Criterion("x", "rtt:word_count", {"word": "tea", "n": 1}), Criterion("y", "rtt:max_words", {"n": 5}))
    sample = RubricSample("one", ({"role": "user", "content": "Go."},), criteria)
    verifier = RuleVerifier(workers=workers, scopes={"rtt:word_count": "local"})
    one, other = asyncio.run(verifier.verify(sample, "Some tea"))
    assert (one.scope, one.relevant(8), other.scope) == ("local", ((5, 8),), "global")


def test_a_rule_has_the_arguments_of_its_function() -> None:
    assert list(inspect.signature(RULES["rtt:word_count"]).parameters) == ["answer", "word", "n"]
    assert all(rule.__doc__ for rule in RULES.values())
