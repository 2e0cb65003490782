"""Each criterion with the response in a forward of its own, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rtt_lightning.lm.forward import may_share
from rtt_lightning.lm.layout import Layout, packed_row, padded_rows
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.lm.selfcheck import a_few_tokens, compute_dtype, ordinary_words, relative_rounding
from rtt_lightning.lm.sequences import on_device, padded
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.readings import Reading, Texts
from rtt_lightning.relevance.discriminator.rows import separate_row
from rtt_lightning.types.batches import TokenBatch


@dataclass(frozen=True)
class PairRow:
    """Pairs of a criterion and a response.

    Attributes:
        layout: Of their tokens.
        shape: Number of pairs, and tokens of the longest response.
    """

    layout: Layout
    shape: torch.Size


class CrossModel(RelevanceModel):
    """Reads a criterion and the response to its end, and rates the tokens for that criterion."""

    labels = 1
    _packs: bool | None = None

    def together(self, criteria: Sequence[str], response: str) -> list[Texts]:
        return [((criterion,), response) for criterion in criteria]

    def row(self, readings: Sequence[Reading], device: torch.device, packed: bool) -> PairRow:
        return self._row(on_device(token_batch(readings), device), packed)

    def rated(self, row: PairRow) -> Tensor:
        logits = self.outputs(row.layout.ids, row.layout.reading)[..., 0].float()
        zeros = torch.zeros(row.shape, device=logits.device)
        return zeros.index_put(row.layout.cells, logits[row.layout.places])

    def packs(self) -> bool:
        if self._packs is None:
            self._packs = may_share(without_adapters(self.network)) and self._packs_exactly()
        return self._packs

    def shares(self) -> bool:
        return self.body.causal and self.packs()

    def _row(self, batch: TokenBatch, packed: bool) -> PairRow:
        if not packed:
            layout = padded_rows(batch)
        elif self.body.causal:
            layout = packed_row(batch)
        else:
            layout = separate_row(batch, self.body)
        return PairRow(layout, batch["response_ids"].shape)

    @torch.no_grad()
    def _packs_exactly(self) -> bool:
        """Whether two responses in a row have the logits of rows of their own, but for rounding."""
        batch = a_few_tokens(ordinary_words(self.tokenizer, self.network), self.body.device)
        alone, mask = self.rated(self._row(batch, packed=False)), batch["response_mask"]
        gap = (self.rated(self._row(batch, packed=True)) - alone).abs()
        plain = without_adapters(self.network)
        rounding = relative_rounding(plain, compute_dtype(plain)) * alone[mask].square().mean().sqrt()
        return all(bool(row[read].median() <= rounding) for row, read in zip(gap, mask, strict=True))


def token_batch(readings: Sequence[Reading]) -> TokenBatch:
    """Criteria as prompts of the responses, on the CPU."""
    prefixes, responses = [prefix for one in readings for prefix in one.prefixes], [one.response for one in readings]
    return TokenBatch(
        prompt_ids=padded(prefixes, torch.long),
        prompt_lengths=torch.tensor([len(prefix) for prefix in prefixes]),
        response_ids=padded(responses, torch.long),
        response_mask=padded([torch.ones_like(response) for response in responses], torch.bool),
    )
