"""Characters and tokens, with characters that are split over tokens."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rtt_lightning.functional.alignment import decode_with_offsets, spans_to_tokens, transfer


def test_a_character_split_over_tokens_belongs_to_each_of_them() -> None:
    duck = "🦆".encode()
    text, offsets = decode_with_offsets([b"a", duck[:2], duck[2:], b"", b" b"])
    assert text == "a🦆 b"
    assert offsets == ((0, 1), (1, 2), (1, 2), (2, 2), (2, 4))


def test_bytes_that_end_in_the_middle_of_a_character_are_replaced() -> None:
    text, offsets = decode_with_offsets([b"x", "漢".encode()[:1]])
    assert text == "x�"
    assert offsets == ((0, 1), (1, 2))


@given(text=st.text(max_size=30), cuts=st.lists(st.integers(0, 120), max_size=12))
def test_any_cut_of_any_text_decodes_to_it_and_covers_every_character(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", errors="ignore")
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    tokens = [data[a:b] for a, b in pairwise(bounds)]
    decoded, offsets = decode_with_offsets(tokens)
    assert decoded == data.decode()
    covered = {character for start, end in offsets for character in range(start, end)}
    assert covered == set(range(len(decoded)))


def test_spans_select_the_tokens_that_they_touch() -> None:
    offsets = ((0, 3), (3, 3), (3, 6), (6, 8))
    assert spans_to_tokens(((2, 5),), offsets).tolist() == [True, False, True, False]
    assert not spans_to_tokens((), offsets).any()
    assert not spans_to_tokens(((4, 4),), offsets).any()


def test_transfer_by_hand() -> None:
    values = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    # "abcd" as ab|cd, carried to a|bc|d and to a token without characters
    result = transfer(values, ((0, 2), (2, 4)), ((0, 1), (1, 3), (3, 4), (4, 4)))
    torch.testing.assert_close(result, torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.5, 0.5, 0.5, 0.0]]))


def test_transfer_to_the_same_tokens_is_the_identity_and_a_gap_belongs_to_the_token_behind_it() -> None:
    spans = ((0, 2), (2, 3), (5, 9))
    values = torch.rand(3, 3)
    torch.testing.assert_close(transfer(values, spans, spans), values)
    assert transfer(torch.tensor([[0.0, 0.0, 1.0]]), spans, ((0, 3), (3, 5), (9, 11))).tolist() == [[0.0, 1.0, 0.0]]


def test_tokens_of_white_space_alone_are_covered_where_a_tokenizer_trims_its_offsets() -> None:
    """ "a", "\\n\\n    " and " tea" with `trim_offsets`: the second is reported empty, the third without its space."""
    trimmed = ((0, 1), (7, 7), (8, 11))
    assert spans_to_tokens(((0, 11),), trimmed).tolist() == [True, True, True]
    assert spans_to_tokens(((2, 3),), trimmed).tolist() == [False, True, False]
    assert transfer(torch.tensor([[0.0, 1.0, 0.5]]), trimmed, ((0, 1), (1, 7), (7, 11))).tolist() == [[0.0, 1.0, 0.5]]


def test_a_character_shared_by_source_tokens_has_their_mean() -> None:
    assert transfer(torch.tensor([[1.0, 0.0]]), ((0, 1), (0, 1)), ((0, 1),)).tolist() == [[0.5]]


@pytest.fixture(scope="module", params=["decoder", "encoder"])
def tokenizer(request: pytest.FixtureRequest, real_model: str, real_encoder: str) -> Any:
    return AutoTokenizer.from_pretrained(real_model if request.param == "decoder" else real_encoder)


@given(text=st.text(max_size=40), bounds=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_tokens_of_real_tokenizers_cover_a_span_and_no_others_touch_it(
    tokenizer: Any, text: str, bounds: tuple[int, int]
) -> None:
    """Of any Unicode text; what a tokenizer drops belongs to the token behind it, or to none after the last."""
    text = text.encode("utf-8", "ignore").decode()
    start, end = (min(bound, len(text)) for bound in sorted(bounds))
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    chosen = spans_to_tokens([(start, end)], offsets).tolist()
    read = max((last for _, last in offsets), default=0)
    reached = [max((last for _, last in offsets[:i]), default=0) for i in range(len(offsets))]
    characters = [{*range(min(a, before), b)} for (a, b), before in zip(offsets, reached, strict=True)]
    span = {*range(start, min(end, read))}
    covered = set().union(*(own for own, is_chosen in zip(characters, chosen, strict=True) if is_chosen))
    assert span <= covered
    for own, is_chosen in zip(characters, chosen, strict=True):
        assert is_chosen == bool(own & span)
