"""Metrics of reward hacking, by hand."""

import pytest

from rtt_lightning.reports.hacking import SELF_PRAISE, copying, repetition


def test_repetition_is_the_share_of_runs_that_stood_before() -> None:
    assert repetition("a b c a b c a b c") == pytest.approx(4 / 7)  # abc bca cab, then abc bca cab abc
    assert repetition("one two three four five") == 0
    assert repetition("one two") == 0


def test_copying_is_the_share_of_runs_from_the_source() -> None:
    source = "Mention that tea is warm and good, in two lines."
    assert copying("Mention that tea is warm and good, in two lines.", source) == 1
    # "so tea is warm and", "tea is warm and good", "is warm and good indeed": one of three
    assert copying("So tea is warm and good indeed", source) == pytest.approx(1 / 3)
    assert copying("tea", source) == 0


@pytest.mark.parametrize(
    "text",
    [
        "This response meets all of it.",
        "As you requested, tea.",
        "I have carefully followed all.",
        "All criteria are met.",
    ],
)
def test_self_praise_is_seen(text: str) -> None:
    assert SELF_PRAISE.search(text)


@pytest.mark.parametrize("text", ["I met her as planned.", "Tea is good.", "My story begins in spring."])
def test_other_words_are_no_self_praise(text: str) -> None:
    assert not SELF_PRAISE.search(text)
