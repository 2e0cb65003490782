"""The data card, beside numbers counted by hand."""

from rtt_lightning.annotation.agreement import SpanAgreement
from rtt_lightning.annotation.card import Facts, card
from rtt_lightning.annotation.labels import Label, SetAside
from rtt_lightning.types import Verdict
from tests.annotation.test_pipeline import JUDGED, RULE, item


def test_it_counts_what_there_is_and_what_is_missing() -> None:
    judged = [
        item("tea and tea", (RULE, Verdict(True, "", ((0, 3), (8, 11)))), (JUDGED, Verdict(True, ""))),
        item("tea", (RULE, Verdict(True, "", ((0, 3),))), (JUDGED, Verdict(False, "", (), spans_by="annotator"))),
        item("rain", (RULE, Verdict(False, "", ())), (JUDGED, Verdict(None, "the judge | `is` down")), name="q"),
        item("oat", (JUDGED, Verdict(True, "", ((0, 3),), scope="global", spans_by="annotator"))),
        item("", (RULE, Verdict(False, "", ()))),
    ]
    agreement = SpanAgreement()
    agreement.add(10, Label("local", "positive", ((0, 3),)), Label("local", "negative", ((2, 4),)))
    facts = Facts(
        "in.jsonl",
        "m, 123",
        [SetAside("not there", "a"), SetAside("not there", "b")],
        agreement,
        {"annotator_calls": 12.0, "annotator_money": 0.25},
    )
    lines = card(judged, "labels.parquet", "abc", facts).splitlines()
    assert lines[:3] == ["# Labels: labels.parquet", "", lines[2]]
    assert lines[2] == ("5 (criterion, response) pairs with labels, of 5 responses to 2 prompts, made from `in.jsonl`.")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert rows[1:] == [
        ["---", "---"],
        ["`rule`", "3"],
        ["`annotator`", "2"],
        ["scope", "polarity", "verdict", "pairs", "without a character", "characters, median of the others", "most"],
        ["---"] * 7,
        ["global", "positive", "met", "1", "0", "3", "3"],
        ["local", "positive", "met", "2", "0", "4.5", "6"],
        ["local", "positive", "not met", "2", "2", "–", "0"],
        ["why", "criteria", "such as"],
        ["---"] * 3,
        ["`set aside: not there`", "2", "`a`"],
        ["`undecided: the judge ¦ 'is' down`", "1", ""],
        ["measure", "value"],
        ["---"] * 2,
        ["criteria that both labelled", "1"],
        ["criteria that the annotator could not label", "0"],
        ["same scope", "1.000"],
        ["same polarity", "0.000"],
        ["F1 of characters, criteria local by rule", "0.400"],
        ["kappa of the same characters", "0.211"],
        ["what", "amount"],
        ["---"] * 2,
        ["annotator_calls", "12"],
        ["annotator_money", "0.25"],
    ]


def test_without_an_annotator_it_says_less() -> None:
    said = card([item("tea", (RULE, Verdict(True, "", ((0, 3),))))], "b", "c", Facts("a"))
    assert "None: every criterion has one." in said
    assert "Nothing was asked of a paid model." in said
    assert "annotator" not in said
