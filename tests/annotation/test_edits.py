"""Edits that break one criterion: proposed by a model over HTTP, and kept only if the verifier confirms them."""

import json
from pathlib import Path

import pytest

from rtt_lightning.annotation.edits import (
    EDITED,
    Replacement,
    break_some,
    edited,
    shown_to_editor,
    to_break,
)
from rtt_lightning.annotation.labels import SetAside
from rtt_lightning.types import Criterion, JudgedRollout, OutsideFailure, Verdict
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.annotation.test_annotator import annotator
from tests.annotation.test_pipeline import item
from tests.verifiers.judge.server import judge_server, seen

RULES = RuleVerifier(workers=0)
TEA, MILK = (Criterion(f"Mention {word}.", "rtt:include_word", {"word": word}) for word in ("tea", "milk"))
NO_OATS = Criterion("Avoid oats.", "rtt:forbid_word", {"word": "oats"})
BOTH = Criterion("Mention tea. Then Mention tea.", "rtt:include_word", {"word": "tea"})


def judged(answer: str, *criteria: Criterion, name: str = "p") -> JudgedRollout:
    empty = item(answer, *((criterion, Verdict(None, "")) for criterion in criteria), name=name)
    [verdicts] = RULES.verify_all([(empty.sample, answer)])
    return JudgedRollout(empty.sample, empty.rollout, tuple(verdicts))


@pytest.mark.parametrize(
    ("replacements", "found"),
    [
        ([("tea", "rain")], "rain and rain, teas"),
        ([("tea and tea", "")], ", teas"),
        ([("teas", "teas!"), ("and", "&")], "tea & tea, teas!"),
    ],
)
def test_words_are_replaced_wherever_they_stand(replacements: list[tuple[str, str]], found: str) -> None:
    assert edited([Replacement(*pair) for pair in replacements], "tea and tea, teas") == found


@pytest.mark.parametrize(
    ("replacements", "kind"),
    [
        ([("milk", "")], "the words to replace are not in the response"),
        ([("tea and", "x"), ("and tea", "y")], "the replacements overlap"),
        ([("tea and tea", " ")], "nothing is left of the response"),
        ([("", "x")], "the words to replace are not in the response"),
    ],
)
def test_edits_that_cannot_be_made_are_dropped(replacements: list[tuple[str, str]], kind: str) -> None:
    found = edited([Replacement(*pair) for pair in replacements], "tea and tea")
    assert isinstance(found, SetAside)
    assert found.kind == kind


def test_one_met_criterion_of_a_response_is_drawn_and_always_the_same() -> None:
    items = [judged(f"tea {n}", TEA, MILK, NO_OATS, name=str(n)) for n in range(12)] + [judged("rain", TEA)]
    chosen = to_break(items, 8)
    assert len(chosen) == 8
    assert chosen == to_break(items, 8)
    assert {place for question in chosen for place in question.places} == {0, 2}
    sample, answer = shown_to_editor(next(question for question in chosen if question.places == [2]))
    assert [criterion.text for criterion in sample.criteria] == [
        "[break] Avoid oats.", "[met] Mention tea.", "[not met] Mention milk."
    ]  # fmt: skip
    assert answer.startswith("tea ")


def test_what_the_verifier_confirms_is_kept_with_its_origin(tmp_path: Path) -> None:
    items = [
        judged("A tea.", TEA, NO_OATS, name="0"),
        judged("Milk, tea", TEA, MILK, name="1"),
        judged("Some tea", TEA, BOTH, name="2"),  # one cannot be broken without the other
    ]
    file = str(tmp_path / "annotator.sqlite")
    with judge_server() as url:
        found = break_some(annotator(url, file=file), RULES, to_break(items, 9))
        assert seen(url).calls == 3
        again = break_some(annotator(url, file=file), RULES, to_break(items, 9))
        assert seen(url).calls == 3
    assert again == found
    assert found.counts == {"edited to break one criterion": 2, "dropped: other criteria changed": 1}
    by_prompt = {one.sample.id: one for one in found.judged}
    assert {*by_prompt} == {"0", "1"}
    for old in items[:2]:
        new = by_prompt[old.sample.id]
        changed = [k for k, (a, b) in enumerate(zip(old.verdicts, new.verdicts, strict=True)) if a.met != b.met]
        assert [new.verdicts[k].met for k in changed] == [False]
        assert [EDITED in verdict.flags for verdict in new.verdicts] == [k in changed for k in range(2)]
        assert new.rollout.answer != old.rollout.answer


def test_edits_that_are_none_or_that_the_server_does_not_give() -> None:
    questions = to_break([judged("A tea.", TEA)], 1)
    message = {"content": json.dumps({"edits": [{"criterion": 1, "reason": "r", "replacements": []}]})}
    with judge_server(body=json.dumps({"choices": [{"message": message}]})) as url:
        assert break_some(annotator(url), RULES, questions).counts == {"dropped: no readable edit": 1}
    with judge_server(status=500) as url, pytest.raises(OutsideFailure, match="1 of 1 questions got no answer"):
        break_some(annotator(url, structured=False), RULES, questions)
