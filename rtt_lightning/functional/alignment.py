"""Characters and tokens: which characters a token carries, which tokens a span covers, tokens of one tokenizer on
tokens of another. All through character offsets: text is never tokenised a second time.

Some tokenizers leave white space out of their offsets (GPT-NeoX, RoBERTa, BERT): characters between two tokens belong
to the second one.
"""

import codecs
from collections.abc import Sequence

import torch
from torch import Tensor

from rtt_lightning.types import Span
from rtt_lightning.types.axes import Bool, Float, Int

Bounds = Int[Tensor, "token 2"]
Offsets = Sequence[Span] | Bounds
"""Where each token begins and ends."""


def decode_with_offsets(tokens: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
    """Text of a token sequence, and the characters that each token carries.

    A multi-byte character split over several tokens (emoji, CJK) belongs to each of them. Bytes that are not UTF-8
    become U+FFFD, as in every tokenizer's own decoding. A token without bytes (special tokens) gets an empty span.

    Args:
        tokens: The bytes of each token, from `TokenBytes`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text, offsets = "", []
    for token in tokens:
        start = len(text)
        text += decoder.decode(token)
        pending = bool(decoder.getstate()[0])
        offsets.append((start, len(text) + pending if token else start))
    text += decoder.decode(b"", final=True)
    return text, tuple((start, min(end, len(text))) for start, end in offsets)


def spans_to_tokens(spans: Sequence[Span], offsets: Offsets) -> Bool[Tensor, " token"]:
    """Tokens that carry at least one character of a span.

    Spans may overlap or be empty. Example: spans ((2, 5),), offsets ((0, 3), (3, 3), (3, 6), (6, 8)) ->
    (True, False, True, False).
    """
    (first, last), (start, end) = bounds(spans).T[..., None], _whole(bounds(offsets)).T
    return (first.maximum(start) < last.minimum(end)).any(0)


def transfer(
    values: Float[Tensor, "rubric source"], source: Offsets, target: Offsets
) -> Float[Tensor, "rubric target"]:
    """Transfer token values of one tokenizer to the tokens of another, by characters of the same text.

    A target token gets the mean of the source values over its characters; a character of several source tokens has
    their mean; characters after the last source token do not count.

    Args:
        values: Finite.
        source: Character span of each source token.
        target: Character span of each target token.

    Returns:
        Values, 0 for target tokens without a covered character.
    """
    source, target = _whole(bounds(source)), bounds(target)
    length = int(torch.cat([source, target]).amax()) if len(source) + len(target) else 0
    token, position = _characters(source)
    sharers = torch.zeros(length).index_add(0, position, torch.ones(len(position)))
    summed = values.new_zeros(len(values), length).index_add(1, position, values[:, token])
    characters = summed / sharers.clamp(min=1)
    token, position = _characters(target)
    covered = (sharers > 0).float()[position]
    counts = torch.zeros(len(target)).index_add(0, token, covered)
    totals = values.new_zeros(len(values), len(target)).index_add(1, token, characters[:, position])
    return totals / counts.clamp(min=1)


def bounds(spans: Offsets) -> Bounds:
    """Where each begins and ends, as a tensor."""
    return torch.as_tensor(spans, dtype=torch.long).reshape(-1, 2)


def _whole(offsets: Bounds) -> Bounds:
    """Offsets extended by the characters between tokens, if any."""
    start, end = offsets.T
    last = torch.cat([end.new_zeros(1), end.cummax(0).values])[:-1]
    return torch.stack([start.minimum(last), end], 1)


def _characters(spans: Bounds) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Every (span index, character) pair of the spans."""
    lengths = (spans[:, 1] - spans[:, 0]).clamp(min=0)
    index = torch.repeat_interleave(torch.arange(len(spans)), lengths)
    first = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return index, torch.arange(len(index)) - first + spans[index, 0]
