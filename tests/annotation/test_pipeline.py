"""What the verifier and the annotator are asked, and what becomes of given verdicts."""

import json
from pathlib import Path

import pytest

from rtt_lightning.annotation.agreement import SpanAgreement, by_rule, compare
from rtt_lightning.annotation.labels import Label, SetAside
from rtt_lightning.annotation.pipeline import Question, ask, decide, to_decide, to_label, with_labels
from rtt_lightning.annotation.responses import read_responses
from rtt_lightning.types import Criterion, JudgedRollout, OutsideFailure, Rollout, RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.judge import Limits
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.annotation.test_annotator import annotator
from tests.verifiers.judge.server import judge_server, seen

RULE = Criterion("Use the word 'tea'.", "rtt:include_word", {"word": "tea"})
JUDGED = Criterion("Mention milk.", "judge")
RULES = RuleVerifier(workers=0)


def item(response: str, *decided: tuple[Criterion, Verdict], name: str = "p") -> JudgedRollout:
    sample = RubricSample(name, ({"role": "user", "content": "x"},), tuple(criterion for criterion, _ in decided))
    return JudgedRollout(sample, Rollout.of_text(name, response), tuple(verdict for _, verdict in decided))


def test_criteria_of_a_file_may_have_no_verdict(tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    texts = ["Use the word 'tea'.", {"text": "Be kind.", "met": True}, {"text": "Be brief.", "met": None}]
    criteria = [texts, json.dumps(texts)]
    file.write_text("".join(json.dumps({"prompt": "x", "response": "Tea.", "criteria": c}) + "\n" for c in criteria))
    for found in read_responses(file):
        assert [verdict.met for verdict in found.verdicts] == [None, True, None]
    file.write_text(json.dumps({"prompt": "x", "criteria": ["Be kind."]}))
    with pytest.raises(UserError, match="holds no responses"):
        read_responses(file)
    file.write_text(json.dumps({"prompt": "x", "response": "Tea.", "criteria": [{"text": "Be kind.", "met": "yes"}]}))
    with pytest.raises(UserError, match=r"criteria\[0\].met` must be true, false or null"):
        read_responses(file)


def test_what_is_undecided_is_decided_and_given_verdicts_stay() -> None:
    given = item(
        "I like tea.",
        (RULE, Verdict.unscorable("")),
        (RULE, Verdict(True, "people say so")),
        (RULE, Verdict(False, "people do not")),
        (RULE, Verdict(True, "", ((0, 1),))),
        (JUDGED, Verdict(False, "no milk")),
    )
    blank = item(" ", (RULE, Verdict(False, "")))
    assert [question.places for question in to_decide([given, blank])] == [[0, 1, 2]]
    found, empty = decide(RULES, [given, blank])
    assert [(v.met, v.reason, v.spans) for v in found.verdicts[1:]] == [
        (True, "people say so", ((7, 10),)),  # the rule agrees, and knows where
        (False, "people do not", None),  # it does not
        (True, "", ((0, 1),)),
        (False, "no milk", None),
    ]
    assert (found.verdicts[0].met, found.verdicts[0].spans) == (True, ((7, 10),))
    assert empty == blank
    assert [question.places for question in to_label([found, empty])] == [[2, 4]]
    assert [decided.shown for decided in to_label([found])[0].decided] == [
        "[not met] Use the word 'tea'.",
        "[not met] Mention milk.",
    ]


def test_labels_without_a_verdict_stay() -> None:
    one = item("I like tea.", (RULE, Verdict(None, "", ((0, 1),), spans_by="labels")))
    assert to_decide([one]) == to_label([one]) == []


def test_a_global_verdict_without_spans_is_known() -> None:
    assert to_label([item("Tea.", (JUDGED, Verdict(True, "", scope="global")))]) == []


def test_labels_go_where_they_were_asked_for() -> None:
    """Of two equal responses, each has its own."""
    one = item("milk", (RULE, Verdict(False, "", ())), (JUDGED, Verdict(True, "m")))
    questions = to_label([one, one])
    label, aside = Label("local", "positive", ((0, 4),)), SetAside("nothing", "x")
    found, problems = with_labels([one, one], questions, [[label], [aside]])
    assert found[0].verdicts == (one.verdicts[0], Verdict(True, "m", ((0, 4),), spans_by="annotator"))
    assert (found[1].verdicts, problems) == (one.verdicts, [aside])


def test_a_server_that_is_down_at_the_end_ends_it_with_nothing_lost(tmp_path: Path) -> None:
    items = [item(f"milk {n}", (JUDGED, Verdict(True, "")), name=str(n)) for n in range(4)]
    file = str(tmp_path / "annotator.sqlite")
    limits = Limits(concurrency=1, attempts=1)
    with (
        judge_server(dies_after=3) as url,
        pytest.raises(
            OutsideFailure, match=r"1 of 4 questions got no answer from the annotator, the last: no connection.* again"
        ),
    ):
        ask(annotator(url, file=file, limits=limits), to_label(items))
    with judge_server() as url:
        assert ask(annotator(url, file=file), to_label(items)) == [[Label("local", "positive", ((0, 4),))]] * 4
        assert seen(url).calls == 1


# -- agreement -----------------------------------------------------------------------------------------------------


def test_agreement_is_that_counted_by_hand() -> None:
    """Ten characters: the rule has 0-3, the annotator 2-4: one in common, two and one alone, six neither."""
    found = SpanAgreement()
    found.add(10, Label("local", "positive", ((0, 3),)), Label("local", "negative", ((2, 4),)))
    assert found.characters.counts[:2, :2].tolist() == [[6, 1], [2, 1]]
    assert found.f1 == pytest.approx(2 / 5)
    # p_o = 0.7, p_e = 0.3 · 0.2 + 0.7 · 0.8 = 0.62
    assert found.characters.kappa == pytest.approx((0.7 - 0.62) / 0.38)
    found.add(10, Label("global", "positive", ((0, 10),)), Label("local", "positive", ()))
    assert found.characters.counts.sum() == 10  # of local rules alone
    assert (found.criteria, found.same_scope, found.same_polarity) == (2, 1, 1)
    nothing = SpanAgreement()
    assert nothing.f1 != nothing.f1


def test_criteria_to_compare_are_labelled_by_rules_and_always_the_same() -> None:
    ruled = (RULE, Verdict(True, "", ((0, 3),)))
    others = [
        (JUDGED, Verdict(True, "", ((0, 1),), spans_by="judge")),
        (RULE, Verdict(None, "", ((0, 3),))),
        (RULE, Verdict(True, "")),
    ]
    items = [item(f"tea {n}", ruled, *others, name=str(n)) for n in range(20)]
    chosen = by_rule(items, 5)
    assert [question.places for question in chosen] == [[0]] * 5
    assert chosen == by_rule(items, 5)
    assert [question.row for question in chosen] == sorted(question.row for question in chosen)
    assert len(by_rule(items, 99)) == 20
    assert {question.row for question in chosen} < {question.row for question in by_rule(items, 9)}


def test_the_annotator_is_compared_with_what_the_rule_says() -> None:
    one = item("tea or tea", (RULE, Verdict(True, "", ((0, 3), (7, 10)))), (RULE, Verdict(True, "", ((0, 3),))))
    question = Question(0, one, [0, 1])
    found = compare([question], [[Label("local", "positive", ((0, 3),)), SetAside("nothing")]])
    assert (found.criteria, found.unlabelled) == (1, 1)
    assert found.characters.counts[:2, :2].tolist() == [[4, 0], [3, 3]]
