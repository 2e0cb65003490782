"""The benchmark of credit: its statistics by hand, and what it says where they are not defined."""

import pytest
import torch
from torch import Tensor

from benchmarks.credit import bought, gram, jackknife, main, share, shown


def test_products_are_of_directions_times_norms() -> None:
    found = gram(torch.tensor([[1, 0], [0.5, 0.5]]).half(), torch.tensor([2.0, 5.0]))
    assert found.tolist() == [[4, 5], [5, 12.5]]


def test_the_share_of_signal_by_hand() -> None:
    assert share(torch.tensor([[1.0, 0.5], [0.5, 3]])) == 0.25  # mean of 1/2 between windows, and of 2 within them
    # Without the first, second and third: 0.3, 0.2 and 0.5, which are -1, -4 and 5 thirtieths from their mean.
    products = torch.tensor([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]], dtype=torch.double)
    assert jackknife(share, products, square=True) == pytest.approx((1 / 3, (2 / 3 * 42 / 900) ** 0.5))


def test_what_a_step_buys_by_hand_also_of_two_windows() -> None:
    gains = torch.tensor([[2.0, 2.0], [6.0, 8.0]], dtype=torch.double)
    assert bought(gains) == pytest.approx(4 * (2 / 5) ** 0.5)
    # 6 sqrt(2 / 8) = 3 without the first and 2 sqrt(2 / 2) = 2 without the second: sqrt(1 / 2 (1 / 4 + 1 / 4)).
    assert jackknife(bought, gains, square=False) == pytest.approx((4 * (2 / 5) ** 0.5, 0.5))
    assert shown((2.5298, 0.5)) == "2.5298 (0.5000)"


@pytest.mark.parametrize(
    ("statistic", "values", "square"),
    [
        (share, torch.zeros(3, 3), True),
        (bought, torch.zeros(2, 2), False),
        (bought, torch.tensor([[1.0, 1.0], [0.0, 0.0]]), False),
    ],
    ids=["signal of no gradient", "gain of no gradient", "gain of one gradient"],
)
def test_what_is_not_defined_is_a_dash(statistic, values: Tensor, square: bool) -> None:
    found = jackknife(statistic, values, square)
    assert found is None
    assert shown(found) == "-"


def test_too_few_windows_for_the_error_of_a_gain_are_told() -> None:
    with pytest.raises(SystemExit, match="windows is 6; a gain with an error needs at least 7, with --every 3"):
        main(windows=6)
