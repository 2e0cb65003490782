"""Weights in words, and the warning where a reward ignores them."""

import warnings

import pytest
import torch
from torch import Tensor

from rtt_lightning.functional.rewards import (
    all_or_nothing,
    all_or_nothing_lower_bound,
    satisfaction_rate,
    weighted_mean,
)
from rtt_lightning.reports.weights import say_if_ignored, takes_signs_alone, weights_by_kind
from rtt_lightning.types import Criterion, RubricSample


def sample(*weights: float) -> RubricSample:
    criteria = tuple(Criterion("x", "judge" if weight < 5 else "rtt:x", weight=weight) for weight in weights)
    return RubricSample("p", ({"role": "user", "content": "x"},), criteria)


def test_weights_are_named_where_one_is_not_1() -> None:
    assert weights_by_kind([sample(1.0, 7.0), sample(1.0)]) == {"judge": "", "rtt:x": "7"}
    assert weights_by_kind([sample(1.0), sample(-2.5, 7.0)]) == {"judge": "-2.5 to 1", "rtt:x": "7"}
    assert Criterion("No commas.", "x").label == "No commas."
    assert Criterion("Commas.", "x", weight=-2).label == "Commas. (weight -2)"


def mostly_met(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """A third-party reward: more than half of the weight."""
    share, known = weighted_mean(met, scorable, weights)
    return (share > 0.5).float(), known


@pytest.mark.parametrize("reward", [all_or_nothing, all_or_nothing_lower_bound, satisfaction_rate])
@pytest.mark.parametrize("weights", [(1.0, 2.0), (3.0, -1.0), (1.0, 1.0, 1.0, 0.5)])
def test_that_weights_are_ignored_is_said(reward, weights: tuple[float, ...]) -> None:
    with pytest.warns(UserWarning, match=rf"by {weights[0]:g}, .* {reward.__name__} takes the signs .*weighted_mean"):
        say_if_ignored(reward, [sample(1.0), sample(*weights)])
    assert not takes_signs_alone(weighted_mean, torch.tensor(weights))


def test_nothing_is_said_where_nothing_is_ignored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_if_ignored(weighted_mean, [sample(1.0, 2.0)])
        say_if_ignored(mostly_met, [sample(1.0, 2.0)])
        say_if_ignored(satisfaction_rate, [sample(1.0, -1.0), sample(2.0, 2.0), sample(-1.0, -3.0)])
        say_if_ignored(satisfaction_rate, [])
