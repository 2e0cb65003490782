"""The cache that grows in place returns what the concatenating one of `transformers` returns."""

import pytest
import torch
from transformers import DynamicCache, Lfm2Config, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rtt_lightning.engines.embedded.cache import ROOM, GrowingLayer, growing_cache, keep_rows, remaining


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


def test_rows_that_go_on_fill_the_places_of_those_that_ended() -> None:
    assert remaining([True, True]) == [0, 1]
    assert remaining([False, True, False, True, True]) == [3, 1, 4]  # one moves
    assert remaining([True, False, False]) == [0]
    assert remaining([False, False]) == []


@pytest.mark.parametrize("going", [[0, 1, 0, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]])
@pytest.mark.parametrize("window", [None, 4])
def test_rows_leave_in_place_as_by_selection_and_the_others_go_on(going: list[int], window: int | None) -> None:
    torch.manual_seed(0)
    config = MistralConfig(num_hidden_layers=1, sliding_window=window)
    cache, theirs = growing_cache(config), DynamicCache(config=config)
    order = remaining([bool(each) for each in going])
    for rows, tokens, leave in ((5, 7, 0), (5, 1, 0), (len(order), 1, 1), (len(order), ROOM, 0), (len(order), 1, 0)):
        new = torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)
        if leave:
            keep_rows(cache, order, torch.device("cpu"))
            theirs.batch_select_indices(torch.tensor(order))
        for got, expected in zip(cache.update(*new, 0), theirs.update(*new, 0), strict=True):
            assert torch.equal(got, expected)


def test_layers_with_an_attention_window_keep_their_own_cache() -> None:
    assert {type(layer) for layer in growing_cache(LlamaConfig(num_hidden_layers=2)).layers} == {GrowingLayer}
    windowed = MistralConfig(num_hidden_layers=2, sliding_window=8)
    assert {type(layer) for layer in growing_cache(windowed).layers} == {DynamicSlidingWindowLayer}


def test_a_model_whose_rows_cannot_leave_one_by_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lfm2' keeps LinearAttentionLayer caches; sample with vLLM"):
        growing_cache(Lfm2Config(layer_types=["conv", "full_attention"], num_hidden_layers=2))
