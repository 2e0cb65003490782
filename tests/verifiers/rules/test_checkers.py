"""Loose evaluation, by any of eight variants of an answer; and what is found out before anything is sampled."""

import asyncio
import random
from pathlib import Path
from typing import Any

import nltk
import pytest

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.code import CodeVerifier
from rtt_lightning.verifiers.ifeval import instruction_classes, needs
from rtt_lightning.verifiers.ifeval.needs import NLTK_RESOURCES, nltk_resources
from rtt_lightning.verifiers.rules import RuleVerifier
from rtt_lightning.verifiers.rules.checkers import Checkers, variants
from tests.verifiers.ifeval.test_checkers import LATER, NEED_NLTK, arguments


def test_the_variants_are_those_of_the_official_evaluators() -> None:
    from if_verifiable.common import get_loose_transformations

    rng = random.Random(0)
    for _ in range(200):
        answer = "".join(rng.choice("ab*\n ") for _ in range(rng.randint(0, 12)))
        assert sorted(variants(answer)) == sorted(get_loose_transformations(answer))


@pytest.mark.parametrize(
    ("answer", "strict", "loose"),
    [
        ("Sure, here it is:\nno comma", False, True),
        ("no comma\nHope, this helps", False, True),
        ("a, b\nno comma\nc, d", False, True),
        ("a, b\nc, d\ne, f", False, False),
        ("no comma", True, True),
        ("a, b", False, False),
        ("", False, False),
    ],
)
def test_a_criterion_is_met_loosely_if_met_by_any_variant(answer: str, strict: bool, loose: bool) -> None:
    criterion = Criterion("No commas.", "punctuation:no_comma")
    assert Checkers({}).decide(criterion, answer).met is strict
    assert Checkers({}).decide_loosely(criterion, answer).met is loose
    sample = RubricSample("one", ({"role": "user", "content": "x"},), (criterion,))
    for workers in (0, 1):
        verifier = RuleVerifier(workers=workers)
        [given] = verifier.verify_all([(sample, answer)])
        [verdict] = asyncio.run(verifier.verify_loosely(sample, answer, given))
        assert verdict.met is loose


def test_an_undecided_variant_leaves_the_criterion_undecided_unless_another_is_met() -> None:
    def check(answer: str) -> object:
        if "boom" in answer:
            raise RuntimeError(answer)
        return Checkers({}).decide(Criterion("x", "rtt:include_word", {"word": "tea"}), answer)

    checkers = Checkers({"own:check": check})  # type: ignore[dict-item]
    criterion = Criterion("x", "own:check")
    assert checkers.decide_loosely(criterion, "boom\nmilk").met is None
    assert checkers.decide_loosely(criterion, "boom\ntea").met is True
    assert checkers.decide_loosely(criterion, "milk\nmilk").met is False


# -- before anything is sampled --------------------------------------------------------------------------------------

CALLED: list[str] = []


def own(answer: str, word: str) -> Verdict:
    CALLED.append(answer)
    raise RuntimeError("fails on any answer")


def problem(checker: str, own_checkers: dict[str, Any] | None = None, **kwargs: Any) -> str:
    return Checkers(own_checkers or {}).problem(Criterion("x", checker, kwargs))


@pytest.mark.parametrize(
    ("checker", "kwargs", "said"),
    [
        (
            "rtt:include_word",
            {"word": "tea", "n": None},
            "wrong arguments: rtt:include_word takes `word`, got `word`, `n`",
        ),
        ("rtt:include_word", {}, "rtt:include_word takes `word`, got none"),
        ("rtt:include_word", {"word": 5}, "rtt:include_word needs a text as `word`, got 5"),
        ("rtt:include_words", {"words": "tea"}, "needs a list of texts as `words`, got 'tea'"),
        ("rtt:include_words", {"words": ["tea", 3]}, "needs a list of texts as `words`, got ['tea', 3]"),
        ("rtt:no_commas", {"n": 1}, "rtt:no_commas takes no arguments, got `n`"),
        ("rtt:max_words", {"max": 10}, "rtt:max_words takes `n`, got `max`"),
        *(
            ("rtt:max_words", {"n": n}, f"needs a whole number of 0 or more as `n`, got {n!r}")
            for n in ("10", -3, 2.5, True, None)
        ),
        ("rtt:is_json", {"high": []}, "needs a whole number of 0 or more or null as `high`, got []"),
        ("rtt:table", {"required": "no"}, "needs true or false or null as `required`, got 'no'"),
        ("rtt:table", {"low_rows": 3, "high_rows": 2}, "can never be met with `low_rows=3` and `high_rows=2`"),
        ("rtt:keyword_count", {"word": "tea", "high": 0}, "can never be met with `low=1` and `high=0`"),
        ("rtt:no_mark", {"mark": "comma"}, "mark must be one character, such as ',', or '...', got 'comma'"),
        ("rtt:language", {"language": "klingon"}, "unknown language 'klingon'"),
        ("length_constraints:number_words", {"num_words": 5}, "an argument is missing or out of range"),
        ("keywords:existence", {"keywords": "tea"}, "keywords must be a list of words"),
        ("keywords:existence", {"keywords": ["tea"], "n": 3}, "takes `keywords=None`, got `keywords`, `n`"),
        ("rtt:include_wrod", {"word": "tea"}, "unknown checker 'rtt:include_wrod'; did you mean"),
    ],
)
def test_arguments_that_do_not_fit_are_named(checker: str, kwargs: dict[str, Any], said: str) -> None:
    assert said in problem(checker, **kwargs)


def test_each_checker_of_the_benchmarks_takes_its_arguments() -> None:
    checkers, names = Checkers({}), instruction_classes().keys()
    assert len(names) > 80
    assert {name: checkers.problem(Criterion("x", name, arguments(name))) for name in names} == dict.fromkeys(names, "")


def test_a_checker_of_ones_own_is_not_called_and_only_its_arguments_names_are_looked_at() -> None:
    assert problem("my:word", {"my:word": own}, word="tea") == ""
    assert problem("my:word", {"my:word": own}, words="tea").endswith("my:word takes `word`, got `words`")
    assert problem("rtt:no_commas", {"rtt:no_commas": own}, word="tea") == ""  # in place of a built-in one
    assert not CALLED


def test_equal_arguments_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checkers, tried = Checkers({}), []
    monkeypatch.setattr(checkers, "_try", lambda criterion: tried.append(criterion) or "wrong")
    criteria = [Criterion("x", "rtt:min_words", {"n": n}) for n in (1, 1, 2, 1)]
    assert [checkers.problem(criterion) for criterion in criteria] == ["wrong"] * 4
    assert [criterion.kwargs["n"] for criterion in tried] == [1, 2]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({}, "checker code must be a text in `kwargs.source`, got NoneType"),
        ({"source": "def f(:"}, "checker code: it does not compile"),
    ],
)
def test_code_that_cannot_run_is_a_problem_of_the_data(kwargs: dict[str, Any], said: str) -> None:
    sample = RubricSample("p", ({"role": "user", "content": "x"},), (Criterion("x", "code", kwargs),))
    assert [text for text in CodeVerifier().problems(sample) if said in text]


# -- what NLTK must have -------------------------------------------------------------------------------------------


def test_the_checkers_that_read_from_nltk_are_those_that_are_unscorable_without_it() -> None:
    """`NEED_NLTK` is compared with verdicts without any resource; one more checker reads for some answers alone, and
    the tagger is asked for behind the words.
    """
    read = {name: found for name in instruction_classes() if (found := nltk_resources(name))}
    assert {name: found[0] for name, found in read.items()} == NEED_NLTK | {LATER: "punkt_tab"}
    assert {name for found in read.values() for name in found} == set(NLTK_RESOURCES)


def test_what_nltk_lacks_is_named_for_the_criteria_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    (tmp_path / NLTK_RESOURCES["punkt_tab"]).mkdir(parents=True)
    criteria = [
        Criterion("x", "words:start_verb"),
        Criterion("x", "ratio:stop_words", {"percentage": 5}),
        Criterion("x", "length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}),
        Criterion("x", "punctuation:no_comma"),
    ]
    sample = RubricSample("p", ({"role": "user", "content": "x"},), tuple(criteria))
    assert RuleVerifier().problems(sample) == [
        f"{checker} needs NLTK's {name!r}; set NLTK_DATA to a folder with it (`rtt doctor` says how)"
        for checker, name in (
            ("words:start_verb", "averaged_perceptron_tagger_eng"),
            ("ratio:stop_words", "stopwords"),
        )
    ]
    replaced = RuleVerifier({"words:start_verb": own, "ratio:stop_words": own})
    assert not [text for text in replaced.problems(sample) if "NLTK" in text]


def test_another_version_of_nltk_is_named_for_the_criteria_that_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "wrong_version", lambda name: "wrong" if name == "nltk" else "")
    checkers = Checkers({"count:pronouns": own})
    names = ("words:start_verb", "punctuation:no_comma", "rtt:no_commas", "count:pronouns")
    assert [checkers.lacking(Criterion("x", name)) for name in names] == ["wrong", "", "", ""]
