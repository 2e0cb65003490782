"""Spans that a verdict does not depend on go, and nothing else of a verdict changes."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.types import Criterion, RubricSample, Scope, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.decisive import DecisiveSpans
from rtt_lightning.verifiers.router import Router
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.verifiers.rules.own_checkers import explodes_without_tea

LOCAL: dict[str, Scope] = {"rtt:word_count": "local", "rtt:keyword_count": "local"}
RULES = RuleVerifier(workers=0, scopes=LOCAL)


def sample(*criteria: Criterion) -> RubricSample:
    return RubricSample("p", ({"role": "user", "content": "?"},), criteria)


def decided(verifier: Verifier, criterion: Criterion, answer: str) -> Verdict:
    [[verdict]] = verifier.verify_all([(sample(criterion), answer)])
    return verdict


def words(verdict: Verdict, answer: str) -> list[str]:
    return [answer[start:end] for start, end in verdict.spans or ()]


@pytest.mark.parametrize(
    ("checker", "kwargs", "weight", "answer", "decisive"),
    [
        ("include_word", {"word": "tea"}, 1, "I like tea.", ["tea"]),
        ("include_word", {"word": "tea"}, 1, "Tea is tea.", []),
        ("include_word", {"word": "tea"}, 1, "Tea is tea, tea, tea.", []),
        ("include_words", {"words": ["tea", "milk"]}, 1, "Tea, tea and milk.", ["milk"]),
        ("start_with", {"phrase": "Today"}, 1, "Today we go.", ["Today"]),
        ("start_with", {"phrase": "Well"}, 1, "Well well well.", []),
        ("word_count", {"word": "tea", "n": 2}, 1, "tea tea", ["tea", "tea"]),
        ("word_count", {"word": "tea", "n": 2}, 1, "tea tea tea", []),
        ("word_count", {"word": "tea", "n": 2}, 1, "tea", []),
        ("include_word", {"word": "tea"}, 1, "No.", []),
        ("forbid_word", {"word": "very"}, 1, "A very good one.", ["very"]),
        ("forbid_word", {"word": "very"}, 1, "A very, very good one.", ["very", "very"]),
        ("forbid_word", {"word": "very"}, 1, "A good one.", []),
        ("no_commas", {}, 1, "a, b, c, d", [",", ",", ","]),
        ("keyword_count", {"word": "tea", "low": 0, "high": 1}, 1, "tea tea tea", ["tea"] * 3),
        ("include_word", {"word": "tea"}, -1, "tea and tea", ["tea", "tea"]),  # unwanted: each has to go
        ("forbid_word", {"word": "tea"}, -1, "tea and tea", []),  # wanted: one will do
    ],
)
def test_hand_cases(checker: str, kwargs: dict[str, Any], weight: int, answer: str, decisive: list[str]) -> None:
    criterion = Criterion("A criterion.", f"rtt:{checker}", kwargs, weight)
    plain, found = decided(RULES, criterion, answer), decided(DecisiveSpans(RULES), criterion, answer)
    assert words(found, answer) == decisive
    assert replace(found, spans=plain.spans, spans_by="") == plain
    assert found.spans_by == ("leave-one-out" if plain.spans else "")


PARTS = ("tea", "Tea", "steam", "tea-pot", "té", "milk", "a", " ", "\n", ", ", ". ")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=9))
def test_a_use_of_a_word_decides_if_and_only_if_it_is_the_only_certain_one(parts: list[str]) -> None:
    answer, criterion = "".join(parts), Criterion("Use 'tea'.", "rtt:include_word", {"word": "tea"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one certain use, and one that readers may count
        plain, found = decided(RULES, criterion, answer), decided(DecisiveSpans(RULES), criterion, answer)
    if plain.met:
        assert found.spans == (plain.spans if len(plain.spans or ()) == 1 else ())
    else:
        assert found == plain


def test_shares_are_given_by_request() -> None:
    both = Criterion("Use both.", "rtt:include_words", {"words": ["tea", "milk"]})
    verdict = decided(DecisiveSpans(RULES, shares=True), both, "Tea, tea and milk.")
    assert verdict.span_relevance == pytest.approx((0.25, 0.25, 1))
    assert verdict.spans_by == "shapley"
    one = Criterion("Use it.", "rtt:include_word", {"word": "tea"})
    verdict = decided(DecisiveSpans(RULES, shares=True), one, "Tea, tea.")
    assert (len(verdict.spans or ()), verdict.span_relevance) == (2, ())
    verdict = decided(DecisiveSpans(RULES, shares=True), one, "tea " * 9)  # more than share
    assert (verdict.spans, verdict.spans_by) == ((), "leave-one-out")


def test_where_nothing_decides_the_whole_answer_may() -> None:
    criterion = Criterion("Use 'tea'.", "rtt:include_word", {"word": "tea"})
    assert decided(DecisiveSpans(RULES, whole_if_redundant=True), criterion, "tea tea").spans == ((0, 7),)
    assert decided(DecisiveSpans(RULES, whole_if_redundant=True), criterion, "tea").spans == ((0, 3),)


def test_each_text_is_asked_about_once_and_the_answer_itself_never() -> None:
    verifier = DecisiveSpans(RULES)
    decided(verifier, Criterion("No very.", "rtt:forbid_word", {"word": "very"}), "very good")  # alone as it is
    assert verifier.metrics()["counterfactuals"] == 0
    decided(verifier, Criterion("Tea.", "rtt:include_word", {"word": "tea"}), "tea tea tea")
    assert verifier.metrics() == {"counterfactuals": 1, "spans_undecided": 0}
    decided(verifier, Criterion("Short.", "rtt:max_words", {"n": 9}), "global: tea tea")
    assert verifier.metrics()["counterfactuals"] == 1


def test_a_check_that_hangs_without_a_span_leaves_it_relevant_and_is_said_and_counted() -> None:
    rules = RuleVerifier({"own:tea": explodes_without_tea}, deadline=0.5)
    criterion = Criterion("Use 'tea'.", "own:tea")
    for shares in (False, True):
        verifier = DecisiveSpans(rules, shares)
        with pytest.warns(UserWarning, match="stays relevant: \"Use 'tea'.\": own:tea took longer than 0.5 seconds"):
            verdict = decided(verifier, criterion, "some tea")
        assert (verdict.met, verdict.spans) == (True, ((5, 8),))
        assert verifier.metrics()["spans_undecided"] == 1


def test_more_spans_than_are_asked_about_stay_and_are_counted() -> None:
    verifier = DecisiveSpans(RULES, most_spans=2)
    with pytest.warns(UserWarning, match="3 spans are more than most_spans 2"):
        verdict = decided(verifier, Criterion("Use 'tea'.", "rtt:include_word", {"word": "tea"}), "tea tea tea")
    assert (len(verdict.spans or ()), verdict.spans_by) == (3, "")
    assert verifier.metrics() == {"counterfactuals": 0, "spans_undecided": 3}
    with pytest.raises(ValueError, match="most_spans must be at least 1, got 0"):
        DecisiveSpans(most_spans=0)


class Quoting(Verifier):
    """Finds met what has "tea", and quotes it."""

    asked = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked += 1
        spans = tuple((i, i + 3) for i in range(len(answer)) if answer.startswith("tea", i))
        return [Verdict(bool(spans), "", spans, spans_by="annotator") for _ in sample.criteria]

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        return [replace(verdict, reason="loosely") for verdict in strict]


def test_a_judge_is_asked_only_by_request() -> None:
    criterion = Criterion("Of tea.", "judge")
    for judged, left in ((False, 2), (True, 0)):
        judge = Quoting()
        verdict = decided(DecisiveSpans(Router(RULES, judge=judge), judged=judged), criterion, "tea and tea")
        assert len(verdict.spans or ()) == left
        assert judge.asked == (3 if judged else 1)


def test_all_else_is_the_verifiers_own() -> None:
    verifier, refused = DecisiveSpans(RULES), sample(Criterion("Be kind.", "judge"))
    assert verifier.problems(refused) == RULES.problems(refused) != []
    assert not verifier.gives_spans(refused.criteria[0])
    assert verifier.memories() == verifier.try_out([refused]) == verifier.foresee([]) == []
