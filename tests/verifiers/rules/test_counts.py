"""Lengths: the fewest and the most that readers count."""

import pytest

from rtt_lightning.verifiers.rules.counts import (
    count_paragraphs,
    count_sentences,
    count_words,
    distinct_words,
    max_words,
    min_words,
    sentence_count,
    sentence_range,
    word_range,
)


@pytest.mark.parametrize(
    "answer",
    ["मुझे चाय पसंद है। राम आया॥", "हिन्दी।चाय।", "هل تحب الشاي؟ نعم أحبه.", "مجھے چائے پسند ہے۔ آپ کو؟"],
)
def test_signs_that_end_sentences(answer: str) -> None:
    assert count_sentences(answer, 2, 2).met is True
    assert count_sentences(answer, 0, 1).met is False


@pytest.mark.parametrize(
    ("answer", "range_"),
    [
        ("tea is warm", (3, 3)),
        ("1. one two\n2. three four five", (5, 7)),  # len(text.split()) counts the numbers of the list
        ("tea - milk — jam", (3, 5)),
        ("a well-known tea", (3, 4)),
        ("and/or tea", (2, 3)),
        ("3.50 euro", (2, 3)),
        ("tea 🙂", (1, 2)),
        ("## Tea\n\n---\n\nwarm", (2, 4)),
        ("tea\u00a0is\u2028warm", (3, 3)),
        ("我喜欢茶", (4, 4)),
    ],
)
def test_words_between_spaces_are_among_the_readings(answer: str, range_: tuple[int, int]) -> None:
    least, most = range_
    assert word_range(answer) == range_
    assert (count_words(answer, least, most).met, count_words(answer, most + 1).met) == (True, False)
    assert (min_words(answer, least).met, max_words(answer, most).met) == (True, True)
    assert (min_words(answer, most + 1).met, max_words(answer, least - 1).met) == (False, False)
    if least < most:
        assert min_words(answer, most).met is max_words(answer, least).met is count_words(answer, most).met is None


@pytest.mark.parametrize(
    ("answer", "range_"),
    [
        ("Dr. Smith drinks tea. He likes it.", (2, 3)),
        ("1. Boil water. 2. Add tea. 3. Wait.", (3, 5)),
        ("1) Boil water.\n2) Add tea.", (2, 2)),
        ("He paid 3.50 for tea. It was good.", (2, 2)),
        ("Visit example.com now. It is good.", (2, 2)),
        ("We met at 5 p.m. on Monday. It rained.", (2, 3)),
        ("Some fruit, e.g. pears. You too?", (2, 3)),
        ("Well... I like tea. Yes.", (2, 3)),
        ("J. R. R. Tolkien wrote it.", (1, 4)),
        ("It was 1990. Then it rained.", (2, 2)),
        ("“I am here.” Then she left.", (2, 2)),
        ("One.Two.", (1, 2)),
        ("One. Two etc.", (2, 2)),
        ("Title\n\nOne. Two.", (2, 3)),
    ],
)
def test_stops_that_end_no_sentence_for_some(answer: str, range_: tuple[int, int]) -> None:
    least, most = range_
    counts = sentence_range(answer)
    assert (counts.least, counts.most, counts.finished) == (least, most, True)
    assert (count_sentences(answer, least, most).met, count_sentences(answer, most + 1).met) == (True, False)
    assert (sentence_count(answer, least, most).met, sentence_count(answer, most + 1, 99).met) == (True, False)
    if least < most:
        assert sentence_count(answer, least, least).met is count_sentences(answer, most).met is None


def test_an_unfinished_sentence_is_none() -> None:
    assert sentence_count("One. Two", 1, 3).met is False


def test_parts_of_joined_words_may_be_words_that_differ() -> None:
    assert [distinct_words("a well-known tea, Tea", n).met for n in (3, 4, 5)] == [True, None, False]


def test_blocks_of_code_may_be_no_paragraphs() -> None:
    assert count_paragraphs("One.\n\n```\na = 1\n\nb = 2\n```", 1, 1).met is None
    assert count_paragraphs("One.\n\n---\n\nTwo.", 2, 2).met is True
