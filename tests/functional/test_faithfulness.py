"""Words of an answer, their order, and what is left without some."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.faithfulness import (
    most_relevant_first,
    steps,
    with_words,
    without_words,
    word_relevance,
    words_of,
)

LETTER = "Dear Ann,\n\n* a red, old map\n* tea\n\nYours,\nBo\n"


def test_words_are_what_stands_between_spaces_and_each_chinese_character() -> None:
    assert [LETTER[a:b] for a, b in words_of(LETTER)] == "Dear Ann, * a red, old map * tea Yours, Bo".split()
    assert [("用tea 茶")[a:b] for a, b in words_of("用tea 茶")] == ["用", "tea", "茶"]


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ({0, 1}, "* a red, old map\n* tea\n\nYours,\nBo\n"),
        ({4}, "Dear Ann,\n\n* a old map\n* tea\n\nYours,\nBo\n"),
        ({7, 8}, "Dear Ann,\n\n* a red, old map\n\nYours,\nBo\n"),
        ({10}, "Dear Ann,\n\n* a red, old map\n* tea\n\nYours,"),
        (set(range(11)), ""),
    ],
)
def test_lines_and_paragraphs_outlive_the_words_left_out(gone: set[int], expected: str) -> None:
    assert without_words(LETTER, words_of(LETTER), gone) == expected


@given(st.text(alphabet="ab,用 \n", max_size=30), st.sets(st.integers(0, 30)))
def test_the_words_kept_are_there_and_no_others(text: str, some: set[int]) -> None:
    words = words_of(text)
    kept = {index for index in some if index < len(words)}
    left = with_words(text, words, kept)
    assert "".join(left.split()) == "".join(text[slice(*words[index])] for index in sorted(kept))
    if words:
        assert with_words(text, words, range(len(words))) == text


def test_a_word_has_the_relevance_of_its_most_relevant_token() -> None:
    """Tokens "we", " sa", "w", " tea", "," and an end token; the last word was not read."""
    offsets = ((0, 2), (2, 5), (5, 6), (6, 10), (10, 11), (11, 11))
    found = word_relevance(torch.tensor([0.1, 0.2, 0.7, 0.4, 0.5, 0.9]), offsets, words_of("we saw tea, now"))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.7, 0.5, 0.0]))
    assert word_relevance(torch.zeros(0), (), words_of("tea")).tolist() == [0]


def test_equal_words_come_in_random_order() -> None:
    assert most_relevant_first([0.1, 0.9, 0.5], random.Random(0)) == [1, 2, 0]
    firsts = [most_relevant_first([0.3, 0.8, 0.8, 0.8], random.Random(seed))[0] for seed in range(300)]
    assert all(firsts.count(word) == pytest.approx(100, abs=30) for word in (1, 2, 3))


def test_shares_of_words_are_at_least_one_and_less_than_all() -> None:
    assert steps(100) == [1, 2, 5, 10, 20]
    assert steps(30) == [1, 1, 2, 3, 6]
    assert steps(2) == [1] * 5
