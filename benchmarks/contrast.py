"""How well the policy's own contrast of prompts finds the words that rules say decide: average precision per cell.

    python -m benchmarks.contrast                  # 32 prompts x 4 responses of the demo model; minutes on a core

Ranking alone counts, so `tau` and `b` of `CriterionContrast` do not matter. Cells (response, criterion) are those with
relevant and other tokens in the answer; chance is the same expected of random rankings of the same cells.
"""

from collections import defaultdict

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning import Collector, CriterionContrast, JudgedRollout, LoadedModel, RuleSpans, RuleVerifier, Sampling
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.functional.quality import quality_metrics, quality_sums

Cell = tuple[Tensor, Tensor]
"""Relevance and labels of the tokens of an answer."""


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    prompts: int = 32,
    n: int = 4,
    tokens: int = 64,
    seed: int = 5,
    kinds: tuple[str, ...] = TRAIN_KINDS,
) -> None:
    """Sample, weigh and print.

    Args:
        model: Folder or hub name.
        prompts: Number of built-in prompts.
        n: Responses to each.
        tokens: Of a response at most.
        seed: Of the prompts.
        kinds: Of their criteria.
    """
    policy = LoadedModel.from_folder(model)
    policy.model.float()
    collector = Collector(verifier=RuleVerifier(workers=0))
    collector.sync(policy)
    judged = collector.collect(sample_prompts(prompts, seed, kinds), Sampling(n=n, max_new_tokens=tokens))
    found = defaultdict[tuple[str, str], list[Cell]](list)
    weighed = zip(judged, CriterionContrast().weigh(judged, policy), RuleSpans().weigh(judged), strict=True)
    for item, contrast, spans in weighed:
        for (kind, verdict), cell in mixed_cells(item, contrast.p, spans.p):
            found[kind, verdict].append(cell)
            found["all kinds", verdict].append(cell)
    for (kind, verdict), cells in sorted(found.items()):
        print(f"{kind:22} {verdict:6} {len(cells):4} cells: {precision(cells)}")


def mixed_cells(item: JudgedRollout, p: Tensor, labels: Tensor) -> list[tuple[tuple[str, str], Cell]]:
    """Cells of a response with relevant and other tokens, by kind and verdict."""
    answer = torch.tensor(item.rollout.answer_tokens, dtype=torch.bool)
    rows = [
        ((criterion.checker, "met" if verdict.met else "unmet"), (p[place][answer], labels[place][answer] > 0))
        for place, (criterion, verdict) in enumerate(item.decisions)
        if verdict.met is not None
    ]
    return [row for row in rows if row[1][1].any() and not row[1][1].all()]


def precision(cells: list[Cell]) -> str:
    p, labels = (pad_sequence([cell[part] for cell in cells], batch_first=True) for part in (0, 1))
    mask = pad_sequence([torch.ones(len(cell[0]), dtype=torch.bool) for cell in cells], batch_first=True)
    found = quality_metrics(quality_sums(p, labels, mask).sum(0))
    ap, chance = (float(found[f"average_precision_{name}"]) for name in ("per_cell", "by_chance"))
    return f"average precision {ap:.2f}, by chance {chance:.2f}"


if __name__ == "__main__":
    auto_cli(main)
