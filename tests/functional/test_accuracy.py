"""Accuracies where some criteria are undecided: a simulation with verdicts of known probability, and hand counts."""

import math

import pytest
import torch

from rtt_lightning.functional.accuracy import (
    LOWER,
    RUBRIC,
    UPPER,
    WHOLE,
    WHOLLY_DECIDED,
    accuracy_by_kind,
    accuracy_counts,
    accuracy_metrics,
    counts_by_kind,
)
from rtt_lightning.functional.rewards import all_or_nothing, all_or_nothing_lower_bound
from rtt_lightning.types import Criterion, Experience, JudgedRollout, Rollout, RubricSample, Verdict

MET_WITH = 0.8
# Prompts as MulDimIF has them where no judge is there: (criteria decided by rule, criteria left open, of 100 prompts).
RUBRICS = ((2, 0, 10), (3, 0, 9), (1, 2, 27), (1, 3, 14), (2, 1, 10), (0, 3, 10), (2, 2, 20))
RESPONSES = 400


def expected() -> dict[str, float]:
    """In closed form: a response passes with 0.8^K, is not known to fail with 0.8^rules."""
    prompts = sum(count for *_, count in RUBRICS)
    passes = sum(count * MET_WITH ** (rules + left) for rules, left, count in RUBRICS) / prompts
    passes_known = sum(count * MET_WITH**rules for rules, left, count in RUBRICS if not left) / prompts
    not_failed = sum(count * MET_WITH**rules for rules, _, count in RUBRICS) / prompts
    decided = sum(count for _, left, count in RUBRICS if not left) / prompts
    return {
        WHOLE: passes,
        LOWER: passes_known,
        UPPER: not_failed,
        WHOLLY_DECIDED: passes_known / decided,
        "undecided_share": 1 - decided,
        "criteria": sum(count * (rules + left) for rules, left, count in RUBRICS) / prompts,
        "wholly_decided_criteria": (2 * 10 + 3 * 9) / 19,
        "known failures and successes": passes_known / (passes_known + 1 - not_failed),
    }


@pytest.fixture(scope="module")
def simulated() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Drawn verdicts of all prompts, which of them are decided, and weights: every second criterion is unwanted."""
    rubrics = [(rules, left) for rules, left, count in RUBRICS for _ in range(count)] * RESPONSES
    width = max(map(sum, rubrics))
    sizes, rules = torch.tensor([sum(r) for r in rubrics]), torch.tensor([r[0] for r in rubrics])
    place = torch.arange(width)[None]
    weights = torch.where(place < sizes[:, None], torch.where(place % 2 == 0, 2.0, -0.5), 0.0)
    desired = torch.rand(len(rubrics), width, generator=torch.Generator().manual_seed(0)) < MET_WITH
    return desired == (weights > 0), place < rules[:, None], weights


def test_the_truth_lies_between_the_bounds_and_no_other_figure_is_it(simulated) -> None:
    met, scorable, weights = simulated
    truth = expected()
    known = accuracy_metrics(accuracy_counts(met, scorable, weights).sum(0))
    assert WHOLE not in known
    for name in (LOWER, UPPER, WHOLLY_DECIDED, "criteria", "wholly_decided_criteria", "undecided_share"):
        assert known[name] == pytest.approx(truth[name], abs=0.01), name
    assert known["wholly_decided_responses"] == 19 * RESPONSES
    everything = accuracy_metrics(accuracy_counts(met, weights != 0, weights).sum(0))
    assert everything[WHOLE] == everything[LOWER] == everything[UPPER] == pytest.approx(truth[WHOLE], abs=0.01)
    assert known[LOWER] < everything[WHOLE] < known[UPPER]
    # What each of the metrics says of this set; the last one counts a response as soon as it is known to fail.
    shown = {name: round(truth[name], 2) for name in (WHOLE, LOWER, UPPER, WHOLLY_DECIDED)}
    assert shown == {WHOLE: 0.49, LOWER: 0.11, UPPER: 0.73, WHOLLY_DECIDED: 0.58}
    assert truth["known failures and successes"] == pytest.approx(0.29, abs=0.005)


def test_the_all_or_nothing_reward_is_unknown_with_anything_undecided(simulated) -> None:
    met, scorable, weights = simulated
    truth = expected()
    window = Experience.by_hand(met, weights=weights, scorable=scorable)
    reward, known = all_or_nothing(window)
    assert known.float().mean() == pytest.approx(1 - truth["undecided_share"])
    assert reward[known].mean() == pytest.approx(truth[WHOLLY_DECIDED], abs=0.01)
    assert not reward[~known].any()
    lower, always = all_or_nothing_lower_bound(window)
    assert always.all()
    assert lower.mean() == pytest.approx(truth[LOWER], abs=0.01)


def test_counts_by_hand() -> None:
    """Passes; fails; known to fail with one open; open; an unwanted one met; nothing decided; no response."""
    met = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [1, 1], [0, 0], [0, 0]], dtype=torch.bool)
    scorable = torch.tensor([[1, 1], [1, 1], [1, 0], [1, 0], [1, 1], [0, 0], [0, 0]], dtype=torch.bool)
    weights = torch.tensor([[1.0, 0], [1, 1], [1, 1], [1, 1], [1, -3], [1, 1], [0, 0]])
    counts = accuracy_counts(met, scorable, weights)
    # criteria as desired and scorable ones; response, criteria, passed, failed, decided, criteria if decided
    assert counts.tolist() == [
        [1, 1, 1, 1, 1, 0, 1, 1],
        [1, 2, 1, 2, 0, 1, 1, 2],
        [0, 1, 1, 2, 0, 1, 0, 0],
        [1, 1, 1, 2, 0, 0, 0, 0],
        [1, 2, 1, 2, 0, 1, 1, 2],
        [0, 0, 1, 2, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    found = {name: value.item() for name, value in accuracy_metrics(counts.sum(0)).items()}
    assert found == pytest.approx(
        {
            RUBRIC: 4 / 7,
            "unscorable": 4 / 11,
            LOWER: 1 / 6,
            UPPER: 3 / 6,
            WHOLLY_DECIDED: 1 / 3,
            "undecided_share": 3 / 6,
            "wholly_decided_responses": 3,
            "wholly_decided_criteria": 5 / 3,
            "criteria": 11 / 6,
        }
    )


def test_what_is_not_known_is_not_there() -> None:
    assert accuracy_metrics(torch.zeros(8, dtype=torch.long)) == {}
    nothing_decided = accuracy_metrics(torch.tensor([0, 1, 4, 9, 0, 1, 0, 0]))
    assert {WHOLE, WHOLLY_DECIDED, "wholly_decided_criteria"}.isdisjoint(nothing_decided)
    assert (nothing_decided[LOWER], nothing_decided[UPPER]) == (0, 0.75)


def judged(kind: str, *mets: bool | None) -> JudgedRollout:
    """Every second criterion is unwanted."""
    criteria = tuple(Criterion(f"c{k}", kind, weight=(-1.0) ** k) for k in range(len(mets)))
    sample = RubricSample("p", ({"role": "user", "content": "x"},), criteria)
    return JudgedRollout(sample, Rollout.of_text("p", "x"), tuple(Verdict(met, "") for met in mets))


def test_kinds_come_from_the_rarest_success_on_and_count_what_is_unscorable() -> None:
    """An unwanted criterion is as desired when it is not met."""
    rows = [judged("open", None), judged("b", True, True, None), judged("b", False), judged("a", False, False, False)]
    assert list(accuracy_by_kind(counts_by_kind(rows)).items()) == [
        ("a", (pytest.approx(1 / 3), 3, 0)),
        ("b", (pytest.approx(1 / 3), 3, 1)),
        ("open", (pytest.approx(math.nan, nan_ok=True), 0, 1)),
    ]
