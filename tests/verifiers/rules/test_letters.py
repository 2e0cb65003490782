"""Words, marks and letter case: where readers would differ, no verdict."""

from typing import Any

import pytest

from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.rules.checkers import Checkers
from rtt_lightning.verifiers.rules.letters import capitalized
from rtt_lightning.verifiers.rules.marks import end_mark, no_commas, no_mark
from rtt_lightning.verifiers.rules.words import include_word, keyword_count, keywords, no_keywords


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        ("A Well-known Green Tea", None),
        ("A State-of-the-art Method", None),
        ("Visit https://example.com Now", None),
        ("Write To tea@example.com Now", None),
        ("Visit example.com Now", None),
        ("Green/black Tea", None),
        ("A Well-Known Green Tea", True),
        ("A Well-known green Tea", False),
        ("'green' Tea", False),
    ],
)
def test_only_words_that_stand_alone_must_be_capitalized(answer: str, met: bool | None) -> None:
    assert capitalized(answer).met is met


@pytest.mark.parametrize(("word", "answer"), [("don't", "I don’t know"), ("don’t", "I don't know")])
def test_an_apostrophe_matches_the_other_one(word: str, answer: str) -> None:
    assert keywords(answer, [word]).met is True
    assert no_keywords(answer, [word]).met is False
    assert keyword_count(answer, word).spans == ((2, 7),)


@pytest.mark.parametrize(
    ("word", "answer", "met"),
    [("राम", "रामायण", None), ("राम", "राम आया", True), ("tea", "❤️tea", True), ("cole", "e\u0301cole", None)],
)
def test_vowel_signs_belong_to_their_word(word: str, answer: str, met: bool | None) -> None:
    assert keywords(answer, [word]).met is met
    assert include_word(answer, word).met is bool(met)


def test_a_selector_of_how_an_emoji_is_drawn_is_no_sign() -> None:
    assert include_word("I ❤️ tea", "❤").met is True


@pytest.mark.parametrize(
    ("mark", "answer"),
    [("?", "هل تحب الشاي؟"), (".", "मुझे चाय पसंद है।"), (".", "مجھے چائے پسند ہے۔"), ("?", "茶は好きですか？")],
)
def test_marks_of_other_scripts_are_the_same_marks(mark: str, answer: str) -> None:
    assert end_mark(answer, mark).spans == ((len(answer) - 1, len(answer)),)
    assert no_mark(answer, mark).met is False


def test_an_arabic_comma_is_a_comma() -> None:
    assert no_mark("شاي، قهوة", ",").spans == no_commas("شاي، قهوة").spans == ((3, 4),)


@pytest.mark.parametrize(
    ("checker", "kwargs", "reason"),
    [
        ("keywords", {"words": "tea"}, "TypeError: words must be a list of words, got 'tea'"),
        ("no_keywords", {"words": "tea"}, "TypeError: words must be a list of words, got 'tea'"),
        ("include_words", {"words": "tea"}, "TypeError: words must be a list of words, got 'tea'"),
        ("keywords", {"words": []}, "ValueError: words is empty; list at least one"),
        ("no_keywords", {"words": []}, "ValueError: words is empty; list at least one"),
        ("include_words", {"words": []}, "ValueError: words is empty; list at least one"),
        ("keywords", {"words": ["tea", ""]}, "ValueError: got an empty word"),
        ("no_keywords", {"words": [" "]}, "ValueError: got an empty word"),
        ("keyword_count", {"word": ""}, "ValueError: got an empty word"),
        ("include_words", {"words": [""]}, "ValueError: got an empty word"),
        ("forbid_word", {"word": ""}, "ValueError: got an empty word"),
        ("start_with", {"phrase": ""}, "ValueError: got an empty word"),
    ],
)
def test_words_that_ask_for_nothing_are_refused(checker: str, kwargs: dict[str, Any], reason: str) -> None:
    verdict = Checkers({}).decide(Criterion("x", f"rtt:{checker}", kwargs), "I like tea.")
    assert verdict.met is None
    assert verdict.reason.startswith(f"rtt:{checker}: {reason}")
