"""One position per row attends as SDPA does, whatever the layout of the keys."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rtt_lightning.lm.single import attend_once


@pytest.mark.parametrize("added", [False, True], ids=["bool", "added"])
@pytest.mark.parametrize("scaling", [None, 0.5])
@pytest.mark.parametrize("turned", [False, True])
def test_result_is_that_of_sdpa(turned: bool, scaling: float | None, added: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 6, 1, 8), torch.randn(3, 2, 5, 8), torch.randn(3, 2, 5, 8)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]).bool()[:, None, None]
    given = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf) if added else mask
    wide = key.repeat_interleave(3, 1), value.repeat_interleave(3, 1)
    expected = scaled_dot_product_attention(query, *wide, attn_mask=mask, scale=scaling).transpose(1, 2)
    key = key.mT.contiguous().mT if turned else key
    torch.testing.assert_close(attend_once(query, key, value, given, scaling), expected)
    everything = scaled_dot_product_attention(query, *wide, scale=scaling).transpose(1, 2)
    torch.testing.assert_close(attend_once(query, key, value, None, scaling), everything)
