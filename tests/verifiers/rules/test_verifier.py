"""`RuleVerifier`: the right checker by id, and no failure that becomes a reward."""

from typing import Any

import pytest

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.base import Checker
from rtt_lightning.verifiers.rules import RuleVerifier


def sample_of(*criteria: tuple[str, dict[str, Any]]) -> RubricSample:
    listed = tuple(Criterion(f"Criterion {i}.", checker, kwargs) for i, (checker, kwargs) in enumerate(criteria))
    return RubricSample("one", ({"role": "user", "content": "Say something."},), listed)


def judge(answer: str, *criteria: tuple[str, dict[str, Any]], own: dict[str, Any] | None = None) -> list[Verdict]:
    return RuleVerifier(own, workers=0).verify_all([(sample_of(*criteria), answer)])[0]


def broken(error: Exception) -> Checker:
    def checker(answer: str) -> Verdict:
        raise error

    return checker


def test_one_verdict_per_criterion_in_rubric_order() -> None:
    verdicts = judge(
        "a bee, humming",
        ("rtt:include_word", {"word": "bee"}),
        ("punctuation:no_comma", {}),
        ("no:such", {}),
        ("keywords:existence", {"keywords": ["humming"]}),
    )
    assert [verdict.met for verdict in verdicts] == [True, False, None, True]
    assert verdicts[0].spans == ((2, 5),)


def test_verify_all_keeps_the_order_of_the_pairs() -> None:
    sample = sample_of(("rtt:include_word", {"word": "bee"}))
    assert [v.met for (v,) in RuleVerifier(workers=0).verify_all([(sample, "a bee"), (sample, "a wasp")])] == [
        True,
        False,
    ]


def test_own_checkers_are_found_and_win_over_built_in_ones() -> None:
    own = dict.fromkeys(("mine:any", "rtt:title", "punctuation:no_comma"), lambda answer: Verdict(True, "mine"))
    verdicts = judge("x, y", *((name, {}) for name in own), own=own)
    assert [verdict.reason for verdict in verdicts] == ["mine"] * 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), "mine:broken: KeyError: 'x'"),
        (RuntimeError("two\n  lines"), "mine:broken: RuntimeError: two lines"),
        (RuntimeError("half \ud800"), "mine:broken: RuntimeError: half \\ud800"),
        (RecursionError(), "mine:broken: RecursionError:"),
        (AssertionError("x" * 999), "mine:broken: AssertionError: " + "x" * 171),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_checker_that_raises_is_unscorable(error: Exception, reason: str) -> None:
    own = {"mine:broken": broken(error)}
    assert judge("x", ("mine:broken", {}), own=own) == [Verdict.unscorable(reason)]


@pytest.mark.parametrize("result", [True, None, "yes", Verdict(1, ""), Verdict("no", "")], ids=repr)
def test_a_result_that_is_no_verdict_is_unscorable(result: Any) -> None:
    (verdict,) = judge("x", ("mine:odd", {}), own={"mine:odd": lambda answer: result})
    assert verdict.met is None
    assert verdict.reason.startswith("mine:odd ")


@pytest.mark.parametrize(
    ("checker", "kwargs"),
    [
        ("rtt:include_word", {}),
        ("rtt:include_word", {"word": 3}),
        ("rtt:min_words", {"n": "many"}),
        ("rtt:no_commas", {"answer": "another"}),
        ("rtt:no_commas", {"unknown": 1}),
        ("punctuation:no_comma", {"unknown": 1}),
        ("keywords:existence", {"keywords": "bee"}),
        ("keywords:existence", {"keywords": 3}),
        ("length_constraints:number_words", {"num_words": "many", "relation": "at least"}),
        ("length_constraints:number_words", {"num_words": 3, "relation": "exactly"}),
        ("language:response_language", {"language": "Klingon"}),
        ("repeat:repeat_change", {}),
    ],
)
def test_wrong_arguments_are_unscorable(checker: str, kwargs: dict[str, Any]) -> None:
    (verdict,) = judge("A bee hums.", (checker, kwargs))
    assert verdict.met is None
    assert verdict.reason.startswith(f"{checker}: ")


def test_crashes_of_the_package_are_unscorable() -> None:
    (verdict,) = judge("[" * 50_000, ("detectable_format:json_format", {}))
    assert verdict.met is None
    assert verdict.reason.startswith("detectable_format:json_format: RecursionError")


@pytest.mark.parametrize(
    "answer",
    ["", "\x00", "\ud800", "😀", "12345", "a " * 50_000],
    ids=["empty", "nul", "surrogate", "emoji", "digits", "long"],
)
def test_verify_never_raises(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")  # the package logs the answer, and a lone surrogate in a log breaks pytest-xdist
    criteria = [("rtt:lowercase", {}), ("rtt:include_word", {"word": "bee"}), ("change_case:english_lowercase", {})]
    verdicts = judge(
        answer, *criteria, ("format:quote_unquote", {}), ("language:response_language", {"language": "fi"})
    )
    assert [verdict for verdict in verdicts if verdict.met is None and not verdict.reason] == []
    assert len(verdicts) == 5


@pytest.mark.parametrize(
    ("checker", "close"),
    [
        ("rtt:include_wrd", "rtt:include_word"),
        ("include_words", "rtt:include_words"),
        ("keywords:existance", "keywords:existence"),
        ("count:word_range", "count:word_count_range"),
        ("mine:firts", "mine:first"),
        ("jugde", "judge"),
    ],
)
def test_an_unknown_checker_is_reported_with_the_closest_known_one(checker: str, close: str) -> None:
    verifier = RuleVerifier({"mine:first": lambda answer: Verdict(True, "mine")}, workers=0)
    sample = sample_of(("rtt:title", {}), (checker, {}), ("format:title_case", {}))
    expected = f"unknown checker {checker!r}; did you mean {close!r}?"
    assert verifier.problems(sample) == [expected]
    assert verifier.verify_all([(sample, "x")])[0][1] == Verdict.unscorable(expected)


def test_an_id_close_to_none_lists_examples() -> None:
    (problem,) = RuleVerifier().problems(sample_of(("zzzzzzzz", {})))
    assert problem.startswith("unknown checker 'zzzzzzzz'; known are for example ['judge', 'code', 'rtt:keyword_count'")
