"""Loose evaluation: any of eight variants of an answer."""

import asyncio
import random

import pytest

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.checks import Checks
from rtt_lightning.verifiers.loose import variants
from rtt_lightning.verifiers.rules import RuleVerifier


def test_the_variants_are_those_of_the_official_evaluators() -> None:
    from if_verifiable.common import get_loose_transformations

    rng = random.Random(0)
    for _ in range(200):
        answer = "".join(rng.choice("ab*\n ") for _ in range(rng.randint(0, 12)))
        assert sorted(variants(answer)) == sorted(get_loose_transformations(answer))


@pytest.mark.parametrize(
    ("answer", "strict", "loose"),
    [
        ("Sure, here it is:\nno comma", False, True),
        ("no comma\nHope, this helps", False, True),
        ("a, b\nno comma\nc, d", False, True),
        ("a, b\nc, d\ne, f", False, False),
        ("no comma", True, True),
        ("a, b", False, False),
        ("", False, False),
    ],
)
def test_a_criterion_is_met_loosely_if_met_by_any_variant(answer: str, strict: bool, loose: bool) -> None:
    criterion = Criterion("No commas.", "punctuation:no_comma")
    assert Checks({}).check(criterion, answer).met is strict
    assert Checks({}).check_loosely(criterion, answer).met is loose
    sample = RubricSample("one", ({"role": "user", "content": "x"},), (criterion,))
    for workers in (0, 1):
        verifier = RuleVerifier(workers=workers)
        [given] = verifier.verify_all([(sample, answer)])
        [verdict] = asyncio.run(verifier.verify_loosely(sample, answer, given))
        assert verdict.met is loose


def test_an_undecided_variant_leaves_the_criterion_undecided_unless_another_is_met() -> None:
    def check(answer: str) -> object:
        if "boom" in answer:
            raise RuntimeError(answer)
        return Checks({}).check(Criterion("x", "rtt:include_word", {"word": "tea"}), answer)

    checks = Checks({"own:check": check})  # type: ignore[dict-item]
    criterion = Criterion("x", "own:check")
    assert checks.check_loosely(criterion, "boom\nmilk").met is None
    assert checks.check_loosely(criterion, "boom\ntea").met is True
    assert checks.check_loosely(criterion, "milk\nmilk").met is False
