"""Quotations are found where they stand, or not at all; and a judge that gives them gives spans."""

import json
from pathlib import Path

import pytest
import torch

from rtt_lightning.relevance import RuleSpans
from rtt_lightning.types import MISQUOTED, SHORTENED, Criterion, JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.judge.evidence import Evidence, Misquoted, locate, merged
from rtt_lightning.verifiers.judge.replies import Opinion, read_reply
from rtt_lightning.verifiers.judge.votes import with_evidence
from tests.verifiers.judge.server import judge_server, seen
from tests.verifiers.judge.test_verifier import judge, met, sample

ANSWER = "Tea, then tea.\nGreen  tea's\u00a0best."


@pytest.mark.parametrize(
    ("segment", "spans"),
    [
        ("tea", [(10, 13), (22, 25)]),  # everywhere, in its own case
        ("Tea, then", [(0, 9)]),
        (" then tea. \n", [(5, 14)]),  # white space at the ends is no part of it
        ("tea. Green tea's best", [(10, 32)]),  # a line end, two spaces and a no-break space, each as one space
        ("then\ttea", [(5, 13)]),
        ("teas", []),
        ("tea’s", []),  # nothing else is forgiven
        ("", []),
        (" \n", []),
        (".*", []),  # not a pattern
    ],
)
def test_a_segment_is_found_wherever_it_stands(segment: str, spans: list[tuple[int, int]]) -> None:
    assert locate(segment, ANSWER) == spans


@pytest.mark.parametrize(
    ("segment", "answer", "spans"),
    [
        ("he", "The hero; he", [(10, 12)]),  # "he" is not meant in "the"
        ("he", "The hero", [(1, 3), (4, 6)]),  # unless it stands nowhere else
        ("1", "10 or 1", [(6, 7)]),
        (",", "a,b,c", [(1, 2), (3, 4)]),
        ("aa", "aaa", [(0, 2), (1, 3)]),  # overlapping
        ("茶", "喝茶。茶", [(1, 2), (3, 4)]),  # no spaces between words
        ("🍵 é", "🍵\né 🍵 é", [(0, 3), (4, 7)]),  # characters, not bytes
        ("e\u0301", "é", []),  # another way to write it
    ],
)
def test_whole_words_come_first_and_offsets_are_characters(
    segment: str, answer: str, spans: list[tuple[int, int]]
) -> None:
    assert locate(segment, answer) == spans


def test_overlapping_spans_become_one() -> None:
    assert merged([(4, 6), (0, 3), (2, 4), (4, 5)]) == ((0, 4), (4, 6))


@pytest.mark.parametrize(
    ("scope", "polarity", "verdict", "segments", "spans"),
    [
        ("global", "positive", True, ["tea"], ((0, len(ANSWER)),)),
        ("global", "negative", False, [], ((0, len(ANSWER)),)),
        ("local", "positive", True, ["tea", "Tea"], ((0, 3), (10, 13), (22, 25))),
        ("local", "positive", False, ["tea"], ()),
        ("local", "negative", False, ["then tea", "tea"], ((5, 13), (22, 25))),
        ("local", "negative", True, ["milk"], ()),
        ("local", "positive", True, [], "no segment is quoted"),
        ("local", "negative", False, [" "], "no segment is quoted"),
        ("local", "positive", True, ["tea", "milk", "mïlk"], 'not in the response, word for word: ["milk", "mïlk"]'),
    ],
)
def test_the_table_of_labels(scope, polarity, verdict: bool, segments: list[str], spans: object) -> None:
    found = Evidence(scope, polarity, tuple(segments)).spans(verdict, ANSWER)
    if isinstance(spans, str):
        assert isinstance(found, Misquoted)
        assert found.startswith(spans)
    else:
        assert found == spans


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"scope": "local", "polarity": "positive"},
        {"scope": "somewhere", "polarity": "positive", "segments": []},
        {"scope": "local", "polarity": None, "segments": []},
        {"scope": "local", "polarity": "positive", "segments": "tea"},
        {"scope": "local", "polarity": "positive", "segments": [1]},
    ],
)
def test_evidence_that_is_not_plain_is_none(row: dict) -> None:
    assert Evidence.from_row(row) is None


def test_half_a_character_in_a_quotation_is_found_nowhere() -> None:
    evidence = Evidence.from_row({"scope": "LOCAL", "polarity": "positive ", "segments": ["\ud83c"]})
    assert evidence == Evidence("local", "positive", ("?",))


# -- a judge that quotes -------------------------------------------------------------------------------------------

RUBRIC = RubricSample(
    "p", sample("tea").messages, tuple(Criterion(f"{text}.", "judge") for text in ("Mention tea", "Avoid milk"))
)


def test_one_call_gives_verdict_and_spans_that_are_relevance(tmp_path: Path) -> None:
    file = str(tmp_path / "judge.sqlite")
    with judge_server() as url:
        one = judge(url, evidence=True, criteria_per_call=2, file=file)
        [found] = one.verify_all([(RUBRIC, "Tea, milk, tea")])
        assert seen(url).calls == 1
        [body] = seen(url).bodies
        fields = body["response_format"]["json_schema"]["schema"]["properties"]["verdicts"]["items"]["required"]
        assert fields == ["criterion", "reason", "scope", "polarity", "segments", "met"]
        assert judge(url, evidence=True, file=file).verify_all([(RUBRIC, "Tea, milk, tea")]) == [found]  # as kept
        assert met(judge(url, file=file).verify_all([(RUBRIC, "Tea, milk, tea")])[0]) == [True, False]
        assert seen(url).calls == 3  # without evidence it is another question
        assert "segments" not in json.dumps(seen(url).bodies[1:])
    assert [(v.met, v.spans, v.polarity, v.spans_by) for v in found] == [
        (True, ((0, 3), (11, 14)), "positive", "judge"),
        (False, ((5, 9),), "negative", "judge"),
    ]
    offsets = ((0, 3), (3, 5), (5, 9), (9, 11), (11, 14))
    rollout = Rollout("p", 0, 0, (), (1, 2, 3, 4, 5), "Tea, milk, tea", offsets, (0, 14), "stop", 0, 1.0)
    [relevance] = RuleSpans().weigh([JudgedRollout(RUBRIC, rollout, tuple(found))])
    assert relevance.p.tolist() == torch.tensor([[1.0, 0, 0, 0, 1], [0, 0, 1, 0, 0]]).tolist()


def test_it_says_whether_it_gives_spans() -> None:
    quoting, plain = judge("http://h/v1", evidence=True), judge("http://h/v1")
    assert [one.gives_spans(RUBRIC.criteria[0]) for one in (quoting, plain)] == [True, False]
    assert RuleSpans().blind(RUBRIC.criteria, quoting.gives_spans) == []


def test_words_that_the_response_does_not_have_leave_the_verdict_without_spans() -> None:
    with judge_server(misquotes=("tea",)) as url:
        [[tea, milk]] = judge(url, evidence=True).verify_all([(RUBRIC, "Tea.")])
    assert (tea.met, tea.spans, tea.flags, tea.spans_by) == (True, None, (MISQUOTED,), "")
    assert (milk.met, milk.spans, milk.flags) == (True, (), ())


def test_a_response_that_was_not_shown_whole_has_no_spans() -> None:
    with judge_server() as url:
        [[tea, _]] = judge(url, evidence=True, max_characters=40).verify_all([(RUBRIC, "Tea " * 11)])
    assert (tea.met, tea.spans, tea.flags) == (True, None, (SHORTENED,))


def test_of_several_votes_the_first_that_quotes_rightly_gives_the_spans() -> None:
    wrong, right = (Evidence("local", "positive", (word,)) for word in ("milk", "tea"))
    votes = [Opinion(False, "no", right), Opinion(True, "a", wrong), Opinion(True, "b"), Opinion(True, "c", right)]
    assert with_evidence(Verdict(True, "yes"), votes, "no tea").spans == ((3, 6),)
    assert with_evidence(Verdict(True, "yes"), votes[:3], "no tea").flags == (MISQUOTED,)
    undecided = Verdict.unscorable("a tie")
    assert with_evidence(undecided, votes, "no tea") == undecided


def test_opinions_with_and_without_evidence_are_kept_and_read() -> None:
    opinion = Opinion(True, "so", Evidence("local", "negative", ("a", "b")))
    assert Opinion.from_row(json.loads(json.dumps(opinion.to_row()))) == opinion
    assert Opinion.from_row({"met": False, "reason": "r"}) == Opinion(False, "r")  # as kept by 0.1.0
    assert Opinion.from_row({"reason": "r"}) is None
    assert read_reply('{"verdicts": [{"criterion": 1, "reason": "r", "met": true}]}', 1).opinions[1].evidence is None
