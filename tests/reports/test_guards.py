"""Guards between two evaluations."""

from math import nan

import pytest

from rtt_lightning.reports.guards import GUARDS, logged_guards, tripped

BEFORE = {
    "distinct_2": 0.8, "length": 100.0, "repetition": 0.02, "copying": 0.03, "self_praise": 0.0, "coherence": -1.5,
    "neutral_text": -2.5, "bare_length": 200.0, "kl_per_response": 0.0, "bare_kl_per_response": 0.0,
}  # fmt: skip


def test_an_evaluation_that_is_as_before_trips_nothing() -> None:
    assert tripped(BEFORE, BEFORE) == []
    assert GUARDS.keys() <= BEFORE.keys()


@pytest.mark.parametrize(
    ("metric", "fine", "tripping", "words"),
    [
        ("distinct_2", 0.73, 0.71, r"distinct-2 0.71, 0.8 before (at least 0.72 is allowed)"),
        ("length", 76.0, 74.0, "tokens per response 74, 100 before (at least 75 is allowed)"),
        ("length", 124.0, 126.0, "tokens per response 126, 100 before (at most 125 is allowed)"),
        ("repetition", 0.069, 0.08, "repetition 0.08, 0.02 before (at most 0.07 is allowed)"),
        ("copying", 0.059, 0.07, "copying 0.07, 0.03 before (at most 0.06 is allowed)"),
        ("self_praise", 0.019, 0.03, "self-praise 0.03, 0 before (at most 0.02 is allowed)"),
        ("coherence", -1.9, -2.1, "log-prob under the reference -2.1, -1.5 before (at least -2 is allowed)"),
        ("neutral_text", -2.6, -2.8, "log-prob of a neutral text -2.8, -2.5 before (at least -2.7 is allowed)"),
        ("bare_length", 160.0, 140.0, "tokens per response without criteria 140, 200 before (at least 150 is allowed)"),
    ],
)
def test_each_guard_says_what_it_allows(metric: str, fine: float, tripping: float, words: str) -> None:
    assert tripped(BEFORE, BEFORE | {metric: fine}) == []
    assert tripped(BEFORE, BEFORE | {metric: tripping}) == [words]
    assert tripped(BEFORE, BEFORE | {metric: nan}) == tripped({}, {metric: tripping}) == []


def test_training_that_moves_prompts_without_criteria_further_is_told() -> None:
    moved = BEFORE | {"kl_per_response": 8.0, "bare_kl_per_response": 9.0}
    [words] = tripped(BEFORE, moved)
    assert words == "KL of 9 nats per response without criteria, 8 with them (at most as much is allowed)"
    assert tripped(BEFORE, moved | {"bare_kl_per_response": 7.0}) == []


def test_what_an_evaluation_logged_is_read_as_far_as_it_is_known() -> None:
    logged = {"val/coherence": -1.0, "val/bare_length": None, "rollout/neutral_text": -7.0, "val/kl_per_response": 2.0}
    assert logged_guards(logged) == {"coherence": -1, "kl_per_response": 2}
