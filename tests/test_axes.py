"""Axes and dtypes of tensors are checked in tests: a wrong order is an error where it enters, not a wrong number."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from rtt_lightning.algorithms import GRPO
from rtt_lightning.functional.advantages import group_normalize
from rtt_lightning.functional.losses import token_mean
from rtt_lightning.types import Credited, Experience

MET = torch.tensor([[True, False], [True, True], [False, False]])


def test_an_experience_with_its_axes_in_another_order_is_refused() -> None:
    relevance = torch.rand(3, 2, 5)
    window = Experience.by_hand(MET, relevance)
    assert GRPO()(window).advantages.shape == (3, 5)
    for wrong in ({"relevance": relevance.movedim(1, 2)}, {"weights": torch.ones(2, 3)}, {"met": MET.int()}):
        with pytest.raises(TypeCheckError):
            replace(window, **wrong)


def test_so_are_arguments_and_what_is_returned() -> None:
    with pytest.raises(TypeCheckError):
        group_normalize(torch.rand(3), torch.ones(3) > 0, torch.zeros(2).long())
    with pytest.raises(TypeCheckError):
        token_mean(torch.rand(3, 5), torch.ones(5, 3) > 0, 15, 1, 1)
    with pytest.raises(TypeCheckError):
        Credited(torch.rand(3, 5), torch.rand(5), torch.ones(5) > 0, {})
    with pytest.raises(TypeCheckError):
        GRPO(lambda experience: (torch.rand(3, 1), torch.ones(3) > 0))(Experience.by_hand(MET))
