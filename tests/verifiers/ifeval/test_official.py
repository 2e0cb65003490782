"""Verdicts of the official evaluators where the package departs from them, by examples worked out from their code."""

import asyncio
import json
from typing import Any

import pytest

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.ifeval import Official, describe, ifeval_checkers
from rtt_lightning.verifiers.ifeval.official import MAIN, PR34
from rtt_lightning.verifiers.rules import RuleVerifier
from rtt_lightning.verifiers.rules.checkers import Checkers
from tests.conftest import ROOT
from tests.verifiers.ifeval.test_checkers import lacks_nltk

REFERENCE = "The quick brown fox jumps over the lazy dog near the river bank today"
QUICK = "The quick brown fox jumps over a sleeping cat"
SIXTEEN, FRESH = " ".join(f"w{n}" for n in range(16)), "".join(f" x{n}" for n in range(11))
EIGHT = "zero one two three four five six seven"
FIVE = {f"keyword{n}": word for n, word in enumerate(("door", "ant", "bee", "cat", "dog"), start=1)}
REST = "ant ant bee bee bee " + "cat " * 5 + "dog " * 7
ALPHABET = " ".join(f"{chr(65 + n)} cat ran." for n in range(26))

EXAMPLES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 4, "let_relation": "at least"}, "####", True),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 4, "let_relation": "at least"}, "aaaa###", False),
    ("punctuation:no_comma", {}, "a\nb, c\n", False),
    ("format:no_whitespace", {}, "hello\n", False),
    ("format:options", {"options": "yes/no/maybe"}, "yes\n", False),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "hello"},
     "\n\nhello a\n\nbye", False),
    ("format:line_indent", {}, "  a\n b", False),
    ("ratio:overlap", {"reference_text": REFERENCE, "percentage": 57}, QUICK, True),
    ("ratio:overlap", {"reference_text": REFERENCE, "percentage": 67}, QUICK, False),
    ("ratio:overlap", {"reference_text": SIXTEEN, "percentage": 54}, SIXTEEN + FRESH, False),  # 14 of 25, rounded up
    ("ratio:overlap", {"reference_text": SIXTEEN, "percentage": 55}, SIXTEEN + FRESH, True),
    ("repeat:repeat_span", {"prompt_to_repeat": EIGHT, "n_start": 3, "n_end": 6}, "three four five six", True),
    ("repeat:repeat_span", {"prompt_to_repeat": EIGHT, "n_start": 3, "n_end": 6}, "three four five", False),
    ("repeat:repeat_span", {"prompt_to_repeat": EIGHT, "n_start": 0, "n_end": 1}, "Zero one", True),
    ("repeat:repeat_span", {"prompt_to_repeat": EIGHT, "n_start": 0, "n_end": 1}, "zero  one", False),
    ("words:words_position", {"keyword": "vibrant"}, "The vibrant city is vibrant today.", True),
    ("words:words_position", {"keyword": "vibrant"}, "The Vibrant city is Vibrant today", True),
    ("words:words_position", {"keyword": "vibrant"}, "The vibrant city is so vibrant.", False),
    ("words:words_position", {"keyword": "vibrant"}, "vibrant", False),
    ("words:keywords_specific_position", {"keyword": "target", "n": 2, "m": 3}, "One. Two, my Target here.", True),
    ("words:keywords_specific_position", {"keyword": "target", "n": 2, "m": 4}, "One. Two, my target here.", False),
    ("words:keywords_specific_position", {"keyword": "target", "n": 3, "m": 1}, "One. Two, my target here.", False),
    ("count:keywords_multiple", FIVE, f"door {REST} outdoors", True),
    ("count:keywords_multiple", FIVE, f"outdoor {REST}", False),
    ("count:pronouns", {"N": 2}, "It's what they're about.", True),
    ("count:pronouns", {"N": 3}, "This is something that everyone wants", True),
    ("count:pronouns", {"N": 3}, "Tea is warm.", False),
    ("count:person_names", {"N": 3}, "Leonard and Miami people visited Amelia's Avatar", False),
    ("count:person_names", {"N": 3}, "Leo and Mia visited Amelia's house", True),
    ("count:person_names", {"N": 1}, "Jonathan", True),
    ("sentence:keyword", {"word": "tea", "N": 1}, "I like steam.", False),
    ("sentence:keyword", {"word": "tea", "N": 2}, "Wow!! I like Tea.", True),
    ("sentence:keyword", {"word": "tea", "N": 3}, "I like tea. I do.", False),
    ("ratio:sentence_words", {}, "Cat. Cat. Cat.", False),
    ("ratio:sentence_words", {}, "Cat. Dog. Rat.", True),
    ("ratio:sentence_words", {}, "Hi,, there?(Hi) there. Xx yy zzzz!", False),
    ("format:title_case", {}, "X ⓐ Y", True),
    ("format:title_case", {}, "I Am a Man", False),
    ("format:title_case", {}, "I Am A Man, 3 Times", True),
    ("format:quote_unquote", {}, "He said “go”", True),
    ("format:quote_unquote", {}, 'He said "go"', False),
    ("format:quote_unquote", {}, 'He said "go" twice', True),
    ("format:quote_unquote", {}, "123!!!", True),
    ("custom:sentence_alphabet", {}, ALPHABET.replace("A cat", '"A cat'), True),
    ("custom:sentence_alphabet", {}, ALPHABET.replace("B cat", "X cat"), False),
    ("ratio:sentence_type", {}, 'He left. I said "Stop." Is it over?', False),
    ("ratio:sentence_balance", {}, 'I came. Did you? He cried "Go!"', False),
    ("sentence:alliteration_increment", {}, "I wait!! Cats come.", True),
    ("format:emoji", {}, "Hello there!! 😊", True),
    ("words:last_first", {}, "It is a cat... then we ran.", True),
    ("sentence:increment", {"small_n": 1}, "Go!! Run now. Stop it now.", True),
    ("sentence:increment", {"small_n": 1}, "Wait... Run now. Stop it now.", False),
    ("format:no_bullets_bullets", {}, "e.g. this\n* a\n* b", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "answer", "met"), EXAMPLES)
def test_verdicts_of_the_official_evaluators(name: str, kwargs: dict[str, Any], answer: str, met: bool) -> None:
    verdict = ifeval_checkers()[name](answer, **kwargs)
    assert verdict.met is met or lacks_nltk(name, verdict)


@pytest.mark.parametrize("state", ["main", "pr34"])
def test_verdicts_are_those_that_the_official_code_gave(state: Official) -> None:
    """Of responses composed for each id, which the evaluators' own code of both states judged, strictly and loosely."""
    verifier, ids, different = RuleVerifier(workers=0, official=state), set(), []
    for line in (ROOT / "tests/assets/official_verdicts.jsonl").read_text().splitlines():
        row = json.loads(line)
        expected = row.get(state, row)
        ids.add(row["id"])
        criterion = Criterion(row["id"], row["id"], row["kwargs"])
        sample = RubricSample("one", ({"role": "user", "content": "Go."},), (criterion,))
        strict = asyncio.run(verifier.verify(sample, row["response"]))
        loose = asyncio.run(verifier.verify_loosely(sample, row["response"], strict))
        found = (strict[0].met, loose[0].met)
        if found != (expected["strict"], expected["loose"]) and not lacks_nltk(row["id"], strict[0]):
            different.append((row, strict[0], loose[0]))
    assert different == []
    assert ids == set(ifeval_checkers())


def test_the_states_differ_in_six_ids() -> None:
    with (ROOT / "tests/assets/official_verdicts.jsonl").open() as rows:
        differing = {row["id"] for row in map(json.loads, rows) if "main" in row}
    assert differing == set(PR34)
    assert set(MAIN) < differing


@pytest.mark.parametrize(("official", "met"), [(True, False), ("main", False), ("pr34", True), (False, True)])
def test_true_means_main_and_training_follows_the_prompts(official: Official, met: bool) -> None:
    kwargs = {"prompt_to_repeat": EIGHT, "n_start": 3, "n_end": 6}
    verdict = Checkers({}, official).decide(Criterion("x", "repeat:repeat_span", kwargs), "three four five six")
    assert verdict.met is met


def test_another_state_is_refused() -> None:
    with pytest.raises(ValueError, match="official must be false, true, 'main' or 'pr34', got 'pr35'"):
        RuleVerifier(official="pr35")  # pyright: ignore[reportArgumentType]


def test_descriptions_name_what_is_asked_for() -> None:
    frequency = {"letter": "#", "let_frequency": 4, "let_relation": "at least"}
    assert "the letter # should appear at least 4 times" in describe("keywords:letter_frequency", frequency)
    span = {"prompt_to_repeat": EIGHT, "n_start": 0, "n_end": 1}
    assert "(and including) index 0 and 1" in describe("repeat:repeat_span", span)


def test_an_answer_without_a_language_is_met_officially_and_unscorable_in_training() -> None:
    name, kwargs = "language:response_language", {"language": "de"}
    assert ifeval_checkers(official=True)[name]("123", **kwargs).met is True
    assert ifeval_checkers()[name]("123", **kwargs).met is None
