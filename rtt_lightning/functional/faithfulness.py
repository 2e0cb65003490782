"""Whether a verdict hangs on the words that relevance points at: words of an answer, their order, and what is left of
the answer without some of them.
"""

import math
import random
import re
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from rtt_lightning.functional.alignment import Offsets, bounds
from rtt_lightning.types import Span
from rtt_lightning.types.axes import Float

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Of an answer's words that are deleted, or kept; at least one word."""
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese characters and kana, written without spaces
WORD = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")


def words_of(answer: str) -> list[Span]:
    """What stands between white space, punctuation and marks included; in Chinese and Japanese each character."""
    return [match.span() for match in WORD.finditer(answer)]


def word_relevance(p: Float[Tensor, " token"], offsets: Offsets, words: Offsets) -> Float[Tensor, " word"]:
    """The relevance of the most relevant token that carries characters of a word; 0 for a word without tokens.

    Args:
        p: Relevance of tokens, at least 0.
        offsets: The characters of each token.
        words: The characters of each word, of the same text.
    """
    (start, end), (first, last) = bounds(offsets).T, bounds(words).T[..., None]
    shared = first.maximum(start) < last.minimum(end)  # [word token]
    return torch.where(shared, p, 0.0).amax(1) if len(p) else torch.zeros(len(words))


def most_relevant_first(relevance: Sequence[float], rng: random.Random) -> list[int]:
    """Indices of words, those of equal relevance in random order: a constant orders words at random."""
    order = list(range(len(relevance)))
    rng.shuffle(order)
    return sorted(order, key=lambda index: -relevance[index])


def steps(words: int) -> list[int]:
    """How many words each of `SHARES` is."""
    return [max(1, math.ceil(share * words - 1e-9)) for share in SHARES]


def with_words(answer: str, words: Sequence[Span], kept: Collection[int]) -> str:
    """The answer with some of its words, as if it had been written so.

    Of the white space between two neighbours, in which words were left out, that with the most line ends stays, so that
    lines and paragraphs do; at the beginning and at the end only that of the answer.

    Args:
        answer: Any text.
        words: All its words, see `words_of`.
        kept: Indices of those that stay.
    """
    edges = [0, *(edge for word in words for edge in word), len(answer)]
    gaps = [answer[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]  # before each and last
    text, before = "", -1
    for index in sorted(kept):
        space = gaps[before + 1 : index + 1]
        if before < 0:
            text = space[0] if index == 0 else ""
        else:
            text += max(space, key=lambda gap: (gap.count("\n"), len(gap)))
        text += answer[slice(*words[index])]
        before = index
    return text + (gaps[-1] if before == len(words) - 1 else "")


def without_words(answer: str, words: Sequence[Span], left_out: Collection[int]) -> str:
    """The answer without some of its words, see `with_words`."""
    return with_words(answer, words, {*range(len(words))} - {*left_out})
