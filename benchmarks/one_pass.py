"""All criteria in one pass beside pairs of a criterion and a response: 8 responses, 1 to 20 criteria, random text.

    python -m benchmarks.one_pass                                   # 12 minutes on one core
    python -m benchmarks.one_pass --criteria 5 --output one_pass.json

Three ways to the relevance of the same texts take turns in one process: one pass, our pairs, and pairs padded to the
longest in batches of 64. Tokenisation counts. A ratio is shown only where one pass is right: within 1e-5 of each
response read alone in fp32. How good such networks are once trained is another matter: `benchmarks.discriminators`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

from benchmarks.advantages import spread
from benchmarks.machine import describe
from benchmarks.scoring import CLOSE, GPU, TOGETHER, Texts, error, in_batches, sentences, timed
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.source import CPU_TOKENS, GPU_TOKENS, relevance_of

RESPONSES, CRITERIA = 8, (1, 2, 5, 10, 20)
BODIES: dict[str, dict[str, Any]] = {
    "decoder": {"model": "models/SmolLM2-135M-Instruct", "layers": 10},
    "encoder": {"model": "models/all-MiniLM-L6-v2", "template": "{criterion}", "max_length": 512},
}


def main(criteria: tuple[int, ...] = CRITERIA, repeats: int = 5, output: str | None = None) -> None:
    """Time all.

    Args:
        criteria: Numbers of them.
        repeats: Of each; one more warms up.
        output: JSON file for what is printed.
    """
    torch.set_num_threads(1)
    rows = [row for body in BODIES for row in compare(body, criteria, repeats)]
    found = {"machine": describe(), "responses": RESPONSES, "repeats": repeats, "rows": rows}
    print(json.dumps(found))
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if all(row["right"] for row in rows) else 1)


def compare(body: str, counts: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """A row for each number of criteria."""
    cross, at_once = (_network(RelevanceConfig(**BODIES[body], one_pass=one_pass)) for one_pass in (False, True))
    tokens = GPU_TOKENS if GPU else CPU_TOKENS
    rows = []
    for count in counts:
        answers = [*sentences(cross, RESPONSES, 40, 220)]
        rubric = tuple(sentences(cross, count, 5, 20, seed=1))
        texts: Texts = [*rubric] * RESPONSES, [answer for answer in answers for _ in rubric]
        alone = [_rated(at_once, [(rubric, answer)], tokens)[0] for answer in answers]
        sides = {
            "one pass": lambda rubric=rubric, answers=answers: _rated(at_once, [(rubric, a) for a in answers], tokens),
            "pairs": lambda texts=texts: _rated(cross, [((c,), a) for c, a in zip(*texts, strict=True)], tokens),
            "padded pairs": lambda texts=texts: in_batches(cross, texts, TOGETHER),
        }
        runs = [[timed(side) for side in sides.values()] for _ in range(repeats + 1)]
        seconds = [[time for time, _ in turn] for turn in runs[1:]]
        worst = error(runs[-1][0][1], alone)
        row: dict[str, Any] = {"body": body, "criteria": count, "error": worst, "right": worst <= CLOSE}
        row |= {name: spread(times) for name, times in zip(sides, zip(*seconds, strict=True), strict=True)}
        row |= {
            "beside padded": spread([c / a for a, _, c in seconds]),
            "beside ours": spread([b / a for a, b, _ in seconds]),
        }
        rows.append(row)
        print(_line(row), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    name = f"{row['body']}, {row['criteria']:2} criteria"
    if not row["right"]:
        return f"{name}  no ratio: p is {row['error']:.2g} off"
    times = " / ".join(f"{row[side][0]:.2f}" for side in ("one pass", "pairs", "padded pairs"))
    ratios = ("{:.2f} x ({:.2f}-{:.2f})".format(*row[of]) for of in ("beside padded", "beside ours"))
    return f"{name}  {times} s: {' of padded, '.join(ratios)} of our pairs"


def _network(config: RelevanceConfig) -> RelevanceModel:
    torch.manual_seed(0)
    return build(config).requires_grad_(False).eval().to("cuda" if GPU else "cpu")


def _rated(network: RelevanceModel, texts: list[Any], tokens: int) -> list[Tensor]:
    return relevance_of(network, network.encode(texts), tokens)


if __name__ == "__main__":
    auto_cli(main)
