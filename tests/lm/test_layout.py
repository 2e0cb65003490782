"""What the body reads of a batch."""

import torch

from rtt_lightning.lm.layout import packed_row, padded_rows, tokens_read
from rtt_lightning.types.batches import Sequences


def batch(prompts: list[list[int]], lengths: list[int]) -> Sequences:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    longest = max(map(len, prompts))
    return Sequences(
        prompt_ids=torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts]),
        prompt_lengths=torch.tensor([len(prompt) for prompt in prompts]),
        response_ids=torch.ones(mask.shape, dtype=torch.long),
        response_mask=mask,
        temperature=torch.ones(len(lengths)),
        sampler_logprobs=torch.full(mask.shape, torch.nan),
    )


def test_the_tokens_read_are_those_of_the_layout() -> None:
    """Two prompts of 3 and 2 tokens: once each and 4 + 1 + 2 tokens, or three rows of 3 + 4."""
    rows = batch([[5, 6, 7], [5, 6, 7], [5, 6]], [4, 1, 2])
    assert tokens_read(rows, share=True) == packed_row(rows).ids.numel() == 3 + 2 + 4 + 1 + 2
    assert tokens_read(rows, share=False) == padded_rows(rows).ids.numel() == 3 * 7
    empty = Sequences(**{name: values[:0] for name, values in rows.items()})
    assert tokens_read(empty, share=True) == tokens_read(empty, share=False) == 0
