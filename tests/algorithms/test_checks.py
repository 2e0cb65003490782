"""What a reward scheme returns is looked at: by its class the message names whose it is."""

from collections.abc import Callable

import pytest
import torch

from rtt_lightning.algorithms import GRPO
from rtt_lightning.algorithms.checks import checked_credit
from rtt_lightning.types import Credited, Experience

MASK = torch.tensor([[True, True, True], [True, False, False]])
WINDOW = Experience.by_hand(torch.tensor([[True], [False]]), torch.rand(2, 1, 3), response_mask=MASK)
FINE = MASK * 0.5
REWARDS, KNOWN = torch.ones(2), torch.ones(2) > 0


def test_credit_passes_as_it_is() -> None:
    credited = GRPO()(WINDOW)
    assert vars(checked_credit(credited, WINDOW, "GRPO")) == vars(credited)


def test_which_responses_are_trained_on_passes_too() -> None:
    credited = Credited(FINE, REWARDS, KNOWN, {}, torch.tensor([True, False]))
    assert checked_credit(credited, WINDOW, "Mine").trained is credited.trained


def test_a_pair_is_taken_for_a_scheme_without_rewards() -> None:
    found = checked_credit((FINE, {"forgiven": torch.tensor(0.5)}), WINDOW, "Lenient")
    assert torch.equal(found.advantages, FINE)
    assert (found.rewards, found.known, found.metrics) == (None, None, {"forgiven": 0.5})


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda: (FINE[:, 0], {}), r"advantages \[batch token\] of shape \[2\], expected \[2, 3\]"),
        (lambda: (FINE.T, {}), r"advantages \[batch token\] of shape \[3, 2\], expected \[2, 3\]"),
        (lambda: Loose(FINE, torch.ones(2, 1), KNOWN), r"rewards \[batch\] of shape \[2, 1\], expected \[2\]"),
        (lambda: Loose(FINE, REWARDS, torch.ones(3) > 0), r"known \[batch\] of shape \[3\], expected \[2\]"),
        (
            lambda: Loose(FINE, REWARDS, KNOWN, torch.ones(3) > 0),
            r"trained \[batch\] of shape \[3\], expected \[2\]",
        ),
        (lambda: Loose(FINE, REWARDS, KNOWN, torch.ones(2)), r"trained as torch.float32, expected torch.bool"),
        (lambda: Credited(FINE, REWARDS, None, {}), "rewards or known alone; return both, or None for both"),
        (lambda: Credited(FINE, None, KNOWN, {}), "rewards or known alone; return both, or None for both"),
        (
            lambda: (torch.full((2, 3), 0.5), {}),
            r"an advantage of 0.5 outside the response, in row 1 at token 1; multiply advantages by experience\.resp",
        ),
        (
            lambda: FINE,
            r"Tensor, expected Credited\(advantages, rewards, known, metrics\) or the pair \(advantages, me",
        ),
        (lambda: None, "NoneType, expected Credited"),
        (lambda: (FINE, REWARDS, KNOWN), "tuple, expected Credited"),
    ],
)
def test_anything_else_is_refused_by_name(returned: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=f"^Mine returned {said}"):
        checked_credit(returned(), WINDOW, "Mine")


class Loose(Credited):
    """Made where nothing checks axes, as in a run."""

    def __init__(self, advantages, rewards, known, trained=None) -> None:
        vars(self).update(advantages=advantages, rewards=rewards, known=known, metrics={}, trained=trained)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left_to_the_window(bad: float) -> None:
    """Also where it reached the tokens outside the response, as 0 times it does."""
    advantages = torch.where(torch.tensor([[False], [True]]), bad, FINE)
    assert checked_credit((advantages, {}), WINDOW, "Mine").advantages is advantages


def test_a_process_without_data_passes() -> None:
    nothing = Experience.by_hand(torch.zeros(0, 1) > 0)
    assert checked_credit(GRPO()(nothing), nothing, "GRPO").advantages.shape == (0, 1)
