"""Sentences of scripts that end them with signs of their own."""

import pytest

from rtt_lightning.verifiers.counts import count_sentences


@pytest.mark.parametrize(
    "answer",
    ["मुझे चाय पसंद है। राम आया॥", "हिन्दी।चाय।", "هل تحب الشاي؟ نعم أحبه.", "مجھے چائے پسند ہے۔ آپ کو؟"],
)
def test_signs_that_end_sentences(answer: str) -> None:
    assert count_sentences(answer, 2, 2).met is True
    assert count_sentences(answer, 0, 1).met is False
