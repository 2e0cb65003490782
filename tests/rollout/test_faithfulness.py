"""Verdicts hang on the words that spans name, and on no others."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rtt_lightning.relevance import RandomRelevance, RuleSpans, UniformRelevance
from rtt_lightning.rollout.faithfulness import RANDOM, can_flip, faithfulness
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.rules import RuleVerifier

RULES = RuleVerifier(workers=0)
TEA, COMMAS = Criterion("Use tea.", "rtt:include_word", {"word": "tea"}), Criterion("No commas.", "rtt:no_commas")
MANY = Criterion("At least 3 words.", "rtt:min_words", {"n": 3})


def judged(answers: Sequence[str], *criteria: Criterion) -> list[JudgedRollout]:
    """A response per prompt, a token per word, with the verdicts of rules."""
    found = []
    for number, answer in enumerate(answers):
        sample = RubricSample(str(number), ({"role": "user", "content": "x"},), criteria)
        offsets = tuple(match.span() for match in re.finditer(r"\s*\S+", answer))
        rollout = replace(Rollout.of_text(str(number), answer), response_ids=(0,) * len(offsets), offsets=offsets)
        [verdicts] = RULES.verify_all([(sample, answer)])
        found.append(JudgedRollout(sample, rollout, tuple(verdicts)))
    return found


def answers(number: int, *words: str) -> list[str]:
    """Of 40 words, one each of ``words`` among them."""
    rng = random.Random(0)
    found = []
    for _ in range(number):
        text = [rng.choice(("sea", "sky", "owl", "red")) for _ in range(40)]
        for place, word in zip(rng.sample(range(40), len(words)), words, strict=True):
            text[place] = word
        found.append(" ".join(text))
    return found


def means(found: dict, kind: str, source: str) -> list[float]:
    return [point["mean"] for point in found[kind]["sources"][source]["curve"]]


def test_spans_flip_verdicts_at_once_and_chance_rarely_does() -> None:
    items = judged(answers(40, "tea", "mud,"), TEA, COMMAS)
    sources = {"spans": RuleSpans(), "constant": UniformRelevance(), "noise": RandomRelevance()}
    found = faithfulness(items, {name: source.weigh(items) for name, source in sources.items()}, RULES)
    assert (found["deletion"]["cells"], found["insertion"]["cells"]) == (80, 40)  # insertion: tea alone
    assert (found["deletion"]["prompts"], found["deletion"]["undecided"]) == (40, 0)
    for kind in ("deletion", "insertion"):
        assert means(found, kind, "spans") == [1.0] * 5
        # of 40 words 1, 1, 2, 4 and 8 are left out: so often is the one that decides among them
        assert means(found, kind, RANDOM) == pytest.approx([0.025, 0.025, 0.05, 0.1, 0.2], abs=0.05)
        area = found[kind]["sources"]["spans"]["area"]
        assert 0.85 < area["low"] <= area["mean"] <= area["high"] <= 1
        for source in ("constant", "noise"):
            area = found[kind]["sources"][source]["area"]
            assert area["low"] <= 0 <= area["high"]
            assert abs(area["mean"]) < 0.06
    assert "area" not in found["deletion"]["sources"][RANDOM]


def test_a_word_used_twice_flips_only_when_both_are_gone() -> None:
    items = judged(answers(20, "tea", "tea"), TEA)
    found = faithfulness(items, {"spans": RuleSpans().weigh(items)}, RULES)
    assert means(found, "deletion", "spans") == [0, 0, 1, 1, 1]
    assert means(found, "insertion", "spans") == [1] * 5


def test_only_verdicts_that_words_can_be_responsible_for_take_part() -> None:
    """Tea is missing, commas are absent, and a length is the whole answer's; of one word nothing can be left out."""
    items = judged(["we saw the sea", "tea"], TEA, COMMAS, MANY)
    assert [[can_flip(verdict) for verdict in item.verdicts] for item in items] == [
        [False, False, False],
        [True, False, False],
    ]
    assert faithfulness(items, {"spans": RuleSpans().weigh(items)}, RULES).keys() == {"shares"}
    assert not can_flip(Verdict.unscorable("down"))


class Counting(Verifier):
    """Rules, except that short texts are not decided; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked.append(answer)
        if len(answer.split()) < 3:
            return [Verdict.unscorable("too short")]
        return await RULES.verify(sample, answer)


def test_undecided_texts_are_left_out_and_each_is_asked_about_once() -> None:
    verifier, items = Counting(), judged(answers(1, "tea"), TEA)
    found = faithfulness(items, {"spans": RuleSpans().weigh(items), "again": RuleSpans().weigh(items)}, verifier)
    assert found["insertion"]["undecided"] == 3 * 7  # 1, 1 and 2 words, of 5 random orders and 2 sources
    assert means(found, "insertion", "spans")[3:] == [1, 1]
    assert len(verifier.asked) < 2 * 5 * 7  # "1 of 40 words" comes twice
