"""The cache that grows in place returns what the concatenating one of `transformers` returns."""

import pytest
import torch
from transformers import Lfm2Config, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rtt_lightning.engines.embedded.cache import ROOM, GrowingLayer, growing_cache


def test_tokens_are_appended_and_rows_dropped_as_by_concatenation() -> None:
    torch.manual_seed(0)
    ours, theirs = GrowingLayer(), DynamicLayer()
    rows = 5
    for step in range(2 * ROOM + 3):  # beyond the first and the second enlargement
        new = torch.randn(rows, 2, 7 if step == 0 else 1, 4), torch.randn(rows, 2, 7 if step == 0 else 1, 4)
        for got, expected in zip(ours.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(got, expected)
        if step % 40 == 10:
            rows -= 1
            for layer in (ours, theirs):
                layer.batch_select_indices(torch.arange(1, rows + 1))
    assert ours.get_seq_length() == theirs.get_seq_length() == 7 + 2 * ROOM + 2


def test_states_already_returned_do_not_change_when_rows_are_dropped_and_others_written() -> None:
    layer = GrowingLayer()
    layer.update(torch.zeros(2, 1, 3, 1), torch.zeros(2, 1, 3, 1))
    layer.update(torch.ones(2, 1, 1, 1), torch.ones(2, 1, 1, 1))
    before = layer.keys
    layer.batch_select_indices(torch.tensor([0]))
    layer.update(torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 2.0))
    assert before[:, 0, :, 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert layer.keys[:, 0, :, 0].tolist() == [[0, 0, 0, 1, 2]]


def test_layers_with_an_attention_window_keep_their_own_cache() -> None:
    assert {type(layer) for layer in growing_cache(LlamaConfig(num_hidden_layers=2)).layers} == {GrowingLayer}
    windowed = MistralConfig(num_hidden_layers=2, sliding_window=8)
    assert {type(layer) for layer in growing_cache(windowed).layers} == {DynamicSlidingWindowLayer}


def test_a_model_whose_rows_cannot_leave_one_by_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lfm2' keeps LinearAttentionLayer caches; sample with vLLM"):
        growing_cache(Lfm2Config(layer_types=["conv", "full_attention"], num_hidden_layers=2))
