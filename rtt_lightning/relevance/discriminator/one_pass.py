"""All criteria of a rubric first, then the response once: one forward, however many criteria there are."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from rtt_lightning.lm.forward import may_share
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.lm.selfcheck import compute_dtype, ordinary_words, relative_rounding
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.readings import Reading, Texts
from rtt_lightning.relevance.discriminator.rows import RubricRow, rubric_row
from rtt_lightning.types.axes import Float
from rtt_lightning.types.errors import UserError

WIDTH = 256
"""Features that a token and a criterion are compared by."""


class OnePassModel(RelevanceModel):
    """Reads all criteria, then the response, and compares each token with each criterion.

    The response sees all its criteria. These see neither each other nor the response, and begin at the same position:
    their order does not matter, and the responses to a prompt share the computation of them. The state of a criterion
    is that of its last token or, of an encoder, the mean over its tokens.
    """

    labels = 2 * WIDTH
    _checked = False

    def together(self, criteria: Sequence[str], response: str) -> list[Texts]:
        return [(tuple(criteria), response)]

    def row(self, readings: Sequence[Reading], device: torch.device, packed: bool) -> RubricRow:
        return rubric_row(readings, replace(self.body, device=device))

    def rated(self, row: RubricRow) -> Tensor:
        found = self.outputs(row.ids, row.reading)[0].float()
        states = found.new_zeros(row.count, found.shape[1]).index_add(0, row.owners, found[row.members])
        means = states / row.sizes[:, None]
        with torch.autocast(found.device.type, enabled=False):  # sums of many terms stay in fp32
            each = [compared(found[own], means[of]) for own, of in zip(row.tokens, row.criteria, strict=True)]
        longest = max(rows.shape[1] for rows in each)  # all at once would take responses x longest x outputs
        return torch.cat([pad(rows, (0, longest - rows.shape[1])) for rows in each])

    def packs(self) -> bool:
        if not self._checked:
            self._check()
        self._checked = True
        return True

    def shares(self) -> bool:
        return self.packs()

    @torch.no_grad()
    def _check(self) -> None:
        """Raise if what is made of a criterion depends on what else is in the row.

        Raises:
            UserError: Then the body cannot read all criteria in one pass.
        """
        plain = without_adapters(self.network)
        words = torch.tensor(ordinary_words(self.tokenizer, self.network))
        one, other, first, second = (
            tuple(words[torch.arange(n, n + 9) % len(words)].tolist()) for n in (3, 40, 70, 90)
        )
        rows = [((one, other), first), ((one,), second)]
        parts = [rubric_row([Reading(prefixes, torch.tensor(ids), ())], self.body) for prefixes, ids in rows]
        if not may_share(plain):
            found = False
        else:
            states = [self.outputs(row.ids, row.reading)[0, : len(one)].float() for row in parts]
            rounding = relative_rounding(plain, compute_dtype(plain)) * states[1].square().mean().sqrt()
            found = bool((states[0] - states[1]).abs().median() <= rounding)
        if not found:
            raise UserError(
                f"{type(plain).__name__} of {self.config.model} cannot read all criteria in one pass: its layers do "
                "not keep segments of a row apart; set model.init_args.one_pass to false, or take another body"
            )


def compared(
    tokens: Float[Tensor, "token label"], criteria: Float[Tensor, "rubric label"]
) -> Float[Tensor, "rubric token"]:
    """Logits of tokens for criteria: the product of the first half of a token's outputs and the second half of a
    criterion's.
    """
    return criteria[:, WIDTH:] @ tokens[:, :WIDTH].T
