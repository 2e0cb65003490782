"""An experience by hand: what would broadcast, or be read as something else, is refused."""

from typing import Any

import pytest
import torch

from rtt_lightning.types import Experience

MET = torch.tensor([[True, False], [True, True], [False, False]])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"relevance": torch.rand(1, 2, 5)}, r"relevance is of shape \[1, 2, 5\], expected .*token\], .* \[3, 2, 5\]"),
        ({"weights": torch.ones(1, 2)}, r"weights is of shape \[1, 2\], expected \[batch rubric\], .* \[3, 2\]"),
        ({"group_ids": torch.zeros(1).long()}, r"group_ids is of shape \[1\], expected \[batch\], .* \[3\]"),
        (
            {"answer_mask": torch.ones(3, 2) > 0},
            r"answer_mask is of shape \[3, 2\], expected \[batch token\], .* \[3, 1\]",
        ),
        ({"met": MET[0]}, r"met is of shape \[2\], expected \[batch rubric\]"),
        ({"met": MET.float()}, r"met is torch.float32, expected torch.bool"),
        ({"scorable": MET.int()}, r"scorable is torch.int32, expected torch.bool"),
        ({"value": MET * 2.0}, r"value holds values from 0 to 2, expected \[0, 1\]"),
        ({"relevance": torch.full((3, 2, 1), torch.nan)}, r"relevance holds values from nan to nan"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Experience.by_hand(**{"met": MET, **given})
