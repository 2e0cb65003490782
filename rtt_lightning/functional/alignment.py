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


def spans_to_tokens(spans: Sequence[Span], offsets: Sequence[Span]) -> Bool[Tensor, " token"]:
    """Tokens that carry at least one character of a span.

    Spans may overlap or be empty. Example: spans ((2, 5),), offsets ((0, 3), (3, 3), (3, 6), (6, 8)) ->
    (True, False, True, False).
    """
    hit = [any(max(a, start) < min(b, end) for a, b in spans) for start, end in _whole(offsets)]
    return torch.tensor(hit, dtype=torch.bool)


def transfer(
    values: Float[Tensor, "rubric source"], source: Sequence[Span], target: Sequence[Span]
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
    source = _whole(source)
    length = max((end for _, end in (*source, *target)), default=0)
    token, position = _characters(source)
    sharers = torch.zeros(length).index_add(0, position, torch.ones(len(position)))
    summed = values.new_zeros(len(values), length).index_add(1, position, values[:, token])
    characters = summed / sharers.clamp(min=1)
    token, position = _characters(target)
    covered = (sharers > 0).float()[position]
    counts = torch.zeros(len(target)).index_add(0, token, covered)
    totals = values.new_zeros(len(values), len(target)).index_add(1, token, characters[:, position])
    return totals / counts.clamp(min=1)


def _whole(offsets: Sequence[Span]) -> list[Span]:
    """Offsets extended by the characters between tokens, if any."""
    found, last = [], 0
    for start, end in offsets:
        found.append((min(start, last), end))
        last = max(last, end)
    return found


def _characters(spans: Sequence[Span]) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Every (span index, character) pair of the spans."""
    bounds = torch.tensor(spans, dtype=torch.long).reshape(-1, 2)
    lengths = (bounds[:, 1] - bounds[:, 0]).clamp(min=0)
    index = torch.repeat_interleave(torch.arange(len(bounds)), lengths)
    first = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return index, torch.arange(len(index)) - first + bounds[index, 0]
