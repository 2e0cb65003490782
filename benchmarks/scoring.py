"""Scoring by a discriminator beside pairs padded to the longest in batches of 64: 8 responses, 5 criteria, random text.

    python -m benchmarks.scoring                                    # 15 minutes on one core
    python -m benchmarks.scoring --only 40 --output scoring.json    # one

Each time is that of texts to relevance, tokenisation included; the two take turns in one process. A ratio is shown only
where ours is right: in fp32 within 1e-5 of each pair alone, in bf16 no further from that than twice the padded one.
On a CPU with one thread, and the time is that of the CPU; one without bf16 arithmetic takes longer in bf16.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

from benchmarks.advantages import spread
from benchmarks.machine import describe
from benchmarks.update import clock
from rtt_lightning.lm.sequences import padded
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.source import CPU_TOKENS, GPU_TOKENS, relevance_of

CRITERIA, RESPONSES, TOGETHER, CLOSE = 5, 8, 64, 1e-5
LENGTHS = ((40, 220), (100, 2000))
GPU = torch.cuda.is_available()
Texts = tuple[Sequence[str], Sequence[str]]
"""Criterion and response of each pair."""


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    layers: int = 10,
    tokens: int = GPU_TOKENS if GPU else CPU_TOKENS,
    repeats: int = 5,
    only: int | None = None,
    output: str | None = None,
) -> None:
    """Time both, in fp32 and in bf16.

    Args:
        model: Folder of the body.
        layers: Number of its first layers.
        tokens: Per forward pass, of ours.
        repeats: Of each; one more, of the shorter responses, warms up.
        only: Responses whose least length is this.
        output: JSON file for what is printed.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build(RelevanceConfig(model, layers=layers)).requires_grad_(False).eval()
    torch.nn.init.normal_(network.network.score.weight, std=0.06)  # logits of about -4 to 4
    network = network.to("cuda" if GPU else "cpu")
    chosen = [lengths for lengths in LENGTHS if only in (None, lengths[0])]
    rows = [row for lengths in chosen for row in compare(network, lengths, tokens, repeats)]
    found = {"machine": describe(), "layers": layers, "tokens": tokens, "repeats": repeats, "rows": rows}
    print(json.dumps(found))
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if all(row["right"] for row in rows) else 1)


def compare(network: RelevanceModel, lengths: tuple[int, int], tokens: int, repeats: int) -> list[dict[str, Any]]:
    """A row for fp32, and one for bf16."""
    texts, rows = pairs(network, *lengths), []
    alone = in_batches(network, texts, 1)
    sides = {
        "ours": lambda: _rated(network, texts, tokens),
        "padded": lambda: in_batches(network, texts, TOGETHER),
    }
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast(network.network.device.type, dtype, enabled=dtype != torch.float32):
            runs = [[timed(side) for side in sides.values()] for _ in range(repeats + (lengths == LENGTHS[0]))]
        seconds = [[time for time, _ in turn] for turn in runs[-repeats:]]
        errors = [error(p, alone) for _, p in runs[-1]]
        right = errors[0] <= (CLOSE if dtype == torch.float32 else 2 * errors[1])
        row: dict[str, Any] = {"tokens": lengths, "dtype": str(dtype).removeprefix("torch."), "right": right}
        row |= {name: spread(times) for name, times in zip(sides, zip(*seconds, strict=True), strict=True)}
        row |= {"errors": errors, "ratio": spread([b / a for a, b in seconds]), "shares": network.shares()}
        print(line(row), flush=True)
        rows.append(row)
    return rows


def line(row: dict[str, Any]) -> str:
    name = f"{row['tokens'][0]}-{row['tokens'][1]} tokens, {row['dtype']:8}"
    if not row["right"]:
        return f"{name}  no ratio: p is {row['errors'][0]:.2g} off, padded {row['errors'][1]:.2g}"
    times = f"{row['ours'][0]:.2f} / {row['padded'][0]:.2f} s"
    return f"{name}  {times}: " + "{:.2f} x ({:.2f}-{:.2f})".format(*row["ratio"]) + f", error {row['errors'][0]:.1g}"


def pairs(network: RelevanceModel, least: int, most: int) -> Texts:
    """Every criterion, of 5 to 20 words, with every response. Words are tokens; the first response is the longest."""
    criteria = sentences(network, CRITERIA, 5, 20)
    answers = [*sentences(network, 1, most, most, seed=1), *sentences(network, RESPONSES - 1, least, most, seed=2)]
    return criteria * RESPONSES, [answer for answer in answers for _ in criteria]


def sentences(network: RelevanceModel, count: int, low: int, high: int, seed: int = 0) -> list[str]:
    """Random words, of a token each, ``low`` to ``high`` of them."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = sorted(network.tokenizer.get_vocab())
    marked = any(word.startswith("Ġ") for word in vocabulary)
    found = (word.removeprefix("Ġ") for word in vocabulary if word.startswith("Ġ") or not marked)
    words = [word for word in found if word.isalpha() and word.isascii()]
    lengths = torch.randint(low, high + 1, (count,), generator=generator).tolist()
    return [" ".join(words[i] for i in torch.randint(len(words), (n,), generator=generator)) for n in lengths]


def _rated(network: RelevanceModel, texts: Texts, tokens: int) -> list[Tensor]:
    readings = network.encode([((criterion,), answer) for criterion, answer in zip(*texts, strict=True)])
    return [rows[0] for rows in relevance_of(network, readings, tokens)]


@torch.no_grad()
def in_batches(network: RelevanceModel, texts: Texts, count: int) -> list[Tensor]:
    """Relevance of each pair, read ``count`` at a time, padded to the longest of them."""
    found = []
    for start in range(0, len(texts[0]), count):
        criteria, answers = (each[start : start + count] for each in texts)
        prefixes = network.tokenizer([network.config.before(criterion) for criterion in criteria])["input_ids"]
        responses = network.tokenizer(list(answers), add_special_tokens=False, return_offsets_mapping=True)["input_ids"]
        rows = [[*prefix, *response] for prefix, response in zip(prefixes, responses, strict=True)]
        ids, seen = (
            padded(each, torch.long).to(network.network.device) for each in (rows, [[1] * len(r) for r in rows])
        )
        p = network.network(input_ids=ids, attention_mask=seen).logits[..., 0].float().sigmoid().cpu()
        found += [row[len(prefix) : len(ids)] for row, prefix, ids in zip(p, prefixes, rows, strict=True)]
    return found


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest, of any token."""
    return max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))


def timed(work: Callable[[], list[Tensor]]) -> tuple[float, list[Tensor]]:
    started = clock()
    found = work()
    return clock() - started, found


if __name__ == "__main__":
    auto_cli(main)
