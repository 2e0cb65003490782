"""Labelled pairs with the relevance that a discriminator gives their tokens, as an evaluation keeps them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from rtt_lightning.functional.alignment import Bounds, bounds
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.relevance.spans import RuleSpans
from rtt_lightning.rollout.faithfulness import faithfulness
from rtt_lightning.types import JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.types.batches import Pair, WeighedBatch
from rtt_lightning.verifiers.base import JUDGE, Verifier
from rtt_lightning.verifiers.judging import judge_again

DISCRIMINATOR, SPANS = "discriminator", "spans of rules"
"""Names of relevance sources that are compared."""


@dataclass(frozen=True)
class WeighedPair:
    """A cell of an evaluation, on the CPU.

    Attributes:
        pair: A criterion and a response.
        p: ``[token]``, the relevance of the tokens that were read.
        labels: ``[token]`` bool, which of them are relevant.
        offsets: ``[token 2]``, their characters.
    """

    pair: Pair
    p: Tensor
    labels: Tensor
    offsets: Bounds


def weighed_pairs(pairs: Sequence[Pair], batch: WeighedBatch) -> list[WeighedPair]:
    """The cells of a batch, with the tokens that were read."""
    p, labels = batch["p"].float().cpu(), batch["labels"].cpu()
    lengths = batch["mask"].sum(1).tolist()
    rows = enumerate(zip(pairs, lengths, batch["offsets"], strict=True))
    return [WeighedPair(pair, p[i, :n].clone(), labels[i, :n].clone(), bounds(at[:n])) for i, (pair, n, at) in rows]


def in_order(cells: Sequence[WeighedPair]) -> list[WeighedPair]:
    """The cells in an order that does not depend on the processes that they come from."""
    return sorted(cells, key=lambda cell: (cell.pair["prompt_id"], cell.pair["response"], cell.pair["criterion"]))


def faithfulness_of_pairs(
    cells: Sequence[WeighedPair], samples: Sequence[RubricSample], verifier: Verifier, most: int, judged: bool = False
) -> dict[str, Any]:
    """`faithfulness` of a discriminator, and of the spans that the verifier gives: the most that can be reached.

    Args:
        cells: Of an evaluation, in any order. Those of local criteria with a relevant token are taken.
        samples: The prompts with their criteria.
        verifier: Decides the answers anew, wherever their labels come from, and what remains of them.
        most: Number of cells at most, drawn by chance but alike each time.
        judged: Also take criteria that a judge decides: several questions a cell.
    """
    alone = {(sample.id, c.text): replace(sample, criteria=(c,)) for sample in samples for c in sample.criteria}
    able = [
        (cell, sample)
        for cell in in_order(cells)
        if cell.pair["scope"] == "local" and cell.labels.any() and (judged or cell.pair["checker"] != JUDGE)
        if (sample := alone.get((cell.pair["prompt_id"], cell.pair["criterion"])))
    ]
    drawn = random.Random(0).sample(able, min(most, len(able)))
    again = judge_again(verifier, [_response(cell, sample) for cell, sample in drawn])
    relevance: Mapping[str, Sequence[Relevance]] = {
        DISCRIMINATOR: [Relevance(cell.p[None]) for cell, _ in drawn],
        SPANS: RuleSpans().weigh(again),
    }
    return faithfulness(again, relevance, verifier)


def _response(cell: WeighedPair, sample: RubricSample) -> JudgedRollout:
    """The response in the discriminator's tokens; its verdict is to be given."""
    text, offsets = cell.pair["response"], tuple((int(start), int(end)) for start, end in cell.offsets)
    rollout = replace(Rollout.of_text(sample.id, text), response_ids=(0,) * len(offsets), offsets=offsets)
    return JudgedRollout(sample, rollout, (Verdict.unscorable(""),))
