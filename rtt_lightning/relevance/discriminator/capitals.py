"""Capitals for a body whose tokenizer drops them (an *uncased* one): as token types beside the ids.

Some criteria are about nothing else. Type 0 stays that of small letters, digits and marks, so that such text is read as
in pretraining. The two new types start close to it, apart enough for layers to tell them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rtt_lightning.types import Span

FIRST_TYPE = "first_type_of_capitals"
"""In the configuration of a body: the token type of words with some capitals; that of words in capitals is next."""
KINDS = 2
START = 0.02
"""Standard deviation of what the new types have beside type 0: that of a new embedding."""


def capitals(word: str) -> int:
    """0 without a capital, 2 for two or more letters that are all capitals, else 1."""
    letters = [letter for letter in word if letter.isalpha()]
    if not any(map(str.isupper, letters)):
        return 0
    return 2 if len(letters) > 1 and word.isupper() else 1


def with_capitals(ids: Sequence[int], offsets: Sequence[Span], text: str, size: int) -> list[int]:
    """Ids that carry the capitals of their tokens: ``id + kind x size``, where ``size`` is that of the vocabulary."""
    kinds = (capitals(text[start:end]) for start, end in offsets)
    return [token + size * kind for token, kind in zip(ids, kinds, strict=True)]


def loses_capitals(tokenizer: Any) -> bool:
    """Whether small letters and capitals have the same ids."""
    small, capital = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a tea", "A TEA"))
    return small == capital


def add_types(body: Any) -> None:
    """Give a body the token types of capitals, if it has token types and not yet these. All its weights must train."""
    owners = [m for m in body.modules() if isinstance(getattr(m, "token_type_embeddings", None), nn.Embedding)]
    if not owners or getattr(body.config, FIRST_TYPE, None) is not None:
        return
    owner: Any = owners[0]
    old = owner.token_type_embeddings
    new = nn.Embedding(old.num_embeddings + KINDS, old.embedding_dim, device=old.weight.device, dtype=old.weight.dtype)
    new.weight.data[: old.num_embeddings] = old.weight.data
    apart = torch.randn(KINDS, old.embedding_dim, generator=torch.Generator().manual_seed(0)) * START
    new.weight.data[old.num_embeddings :] = old.weight.data[0] + apart.to(old.weight)
    setattr(body.config, FIRST_TYPE, old.num_embeddings)
    body.config.type_vocab_size = new.num_embeddings
    owner.token_type_embeddings = new
