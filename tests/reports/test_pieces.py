"""What is said of tokens."""

import pytest

from rtt_lightning.reports.pieces import decides, pieces, said, threshold, visible
from rtt_lightning.types import Criterion, Verdict


def test_tokens_of_one_character_are_a_piece_which_is_inside_if_any_of_them_is(judge) -> None:
    rollout = judge("a", "a🍵b", [True], offsets=((0, 1), (1, 2), (1, 2), (2, 3), (3, 3))).rollout
    found = pieces(rollout)
    assert [(piece.start, piece.end, piece.tokens, piece.inside) for piece in found] == [
        (0, 1, (0,), True), (1, 2, (1, 2), True), (2, 3, (3,), True), (3, 3, (4,), False),
    ]  # fmt: skip
    assert found[1].mean([0.0, 0.25, 0.75, 0.0, 0.0]) == 0.5


def test_what_would_act_on_a_terminal_or_hide_text_is_visible_one_for_one() -> None:
    text = "a\x1b[2J\x00\x85\u202eb\u2066\ud800\r\n\u2028\t"
    assert visible(text) == "a␛[2J␀��b�� \n\n\t"
    assert len(visible(text)) == len(text)
    assert visible(visible(text)).encode()  # no half of a character is left


@pytest.mark.parametrize(
    ("values", "bound", "words"),
    [
        ([0.6, 0.1, 0.3], 0.3, "2 of 3 tokens decide it, with a relevance of 0.300 or more."),
        ([0.2, 0.0], None, "No token decides it: the highest relevance is 0.200."),
        ([0.9, 0.5], None, "All tokens count, with a relevance of 0.500 to 0.900."),
        ([1.0, 1.0], None, "All tokens count alike, with a relevance of 1.000."),
        ([], None, "The answer has no tokens."),
    ],
)
def test_a_token_decides_from_half_of_the_highest_relevance(values, bound, words) -> None:
    assert threshold(values) == bound
    assert decides(values, Verdict(True, "")) == words
    assert decides(values, Verdict(None, "")).startswith("Undecided")


def test_a_verdict_is_said_with_its_reason_and_all_that_it_says_of_itself() -> None:
    wanted, unwanted = Criterion("Be nice.", "judge"), Criterion("Be rude.", "judge", weight=-1)
    assert said(wanted, Verdict(True, "it is")) == "as desired: it is"
    assert said(wanted, Verdict(None, "")) == "undecided"
    assert said(unwanted, Verdict(False, "")) == "as desired, since it is unwanted and not met"
    verdict = Verdict(False, "rude", flags=("steering",), value=0.25, confidence=0.5, spans_by="annotator")
    assert said(wanted, verdict) == "not as desired: rude; value 0.25; confidence 0.5; spans by annotator; steering"
