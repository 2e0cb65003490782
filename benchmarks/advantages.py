"""Token-level advantages: time and extra memory of each partition, beside the time that a copy of the relevance takes.

    python -m benchmarks.advantages                        # 512 responses, 5 criteria, 1,090 tokens; a minute
    python -m benchmarks.advantages --rubric 7 --token 4096 --schemes true --formulas false

First each partition, and the token level of factored RTT, is compared with its formula written plainly, in double, on a
small ragged window; one that differs ends it with 1 and no figure. Then all take turns in one process. A repeat gives a
ratio to that repeat's copy twice: *fresh*, memory handed back to the system before each call, as for the one call of a
window; *warm*, room and cache left by the call before. Memory is the peak resident size above that before the call,
fresh. Linux, with glibc.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf
from statistics import median
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

import rtt_lightning as rtt
from rtt_lightning.functional import advantages
from rtt_lightning.functional.factored import factored
from rtt_lightning.types import Experience

EPS = advantages.EPS
GROUP = 8
SCHEMES: dict[str, rtt.Algorithm] = {
    "GRPO": rtt.GRPO(),
    "RLOO": rtt.RLOO(),
    "GDPO": rtt.GDPO(),
    "PAPO": rtt.PAPO(),
    "CriPO": rtt.CriPO(),
    "CoRT": rtt.CoRT(),
    "RTT": rtt.RTT(),
    "FactoredRTT": rtt.FactoredRTT(),
    "RubricDropout(FactoredRTT)": rtt.RubricDropout(rtt.FactoredRTT()),
    "EndToken(FactoredRTT)": rtt.EndToken(rtt.FactoredRTT()),
    "WithoutTruncated(FactoredRTT)": rtt.WithoutTruncated(rtt.FactoredRTT()),
    "DynamicSampling(FactoredRTT)": rtt.DynamicSampling(rtt.FactoredRTT(), keep=32),
}
"""Whole schemes, as a run calls them."""
NAMES = ("intra_sample", "gated_intra_sample", "inter_sample", "rubric_mean", "softmax_spread", "no_partition")


def plain(name: str, experience: Experience, std_floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """A partition as its formula reads: every z-score is formed, group by group."""
    scorable, answer = experience.scorable, experience.answer_mask
    cells, rewards = answer[:, None] & scorable[..., None], advantages.token_rewards(experience)
    mean = torch.where(scorable[..., None], rewards, 0.0).sum(1, keepdim=True)
    mean = mean / scorable.sum(1).clamp(min=1)[:, None, None]
    some = cells.any(1, keepdim=True)
    match name:
        case "intra_sample":
            scores, live = z_score(rewards, cells, (2,), std_floor)
        case "gated_intra_sample":
            contested = torch.zeros_like(scorable)
            for i, k in scorable.nonzero():
                mine = (experience.group_ids == experience.group_ids[i]) & scorable[:, k]
                contested[i, k] = len(experience.as_desired[mine, k].unique()) > 1
            scores, live = z_score(rewards, cells, (2,), std_floor)
            scores = scores * contested[..., None]
        case "inter_sample":
            scores, live = by_group(rewards, cells, experience.group_ids, std_floor)
        case "rubric_mean":
            scores, live = by_group(mean, some, experience.group_ids, std_floor)
            return scores[:, 0], live[..., 0] & scorable
        case "softmax_spread":
            signs = experience.signs[..., None].to(rewards)
            z, live = by_group(signs, scorable[..., None], experience.group_ids, std_floor)
            shares = experience.relevance.masked_fill(~scorable[..., None], -torch.inf).softmax(1)
            return torch.where(cells, shares * z, 0.0).sum(1), live[..., 0] & scorable
        case _:
            return torch.where(some, mean, 0.0)[:, 0], scorable & answer.any(1, keepdim=True)
    return torch.where(cells, scores, 0.0).sum(1) / scorable.sum(1).clamp(min=1)[:, None], live[..., 0] & scorable


def by_group(values: Tensor, cells: Tensor, group_ids: Tensor, std_floor: float) -> tuple[Tensor, Tensor]:
    scores, live = torch.zeros_like(values), torch.zeros_like(cells[..., :1])
    for group in group_ids.unique():
        rows = group_ids == group
        scores[rows], live[rows] = z_score(values[rows], cells[rows], (0, 2), std_floor)
    return scores, live


def z_score(values: Tensor, cells: Tensor, axes: tuple[int, ...], std_floor: float) -> tuple[Tensor, Tensor]:
    """Over ``axes``, where ``cells``; 0 elsewhere. With it what is live, with ``axes`` of size 1."""
    if not values.numel():
        return values, cells.sum(axes, keepdim=True) > 0
    count = cells.sum(axes, keepdim=True).clamp(min=1)
    centred = torch.where(cells, values - torch.where(cells, values, 0.0).sum(axes, keepdim=True) / count, 0.0)
    std = (centred.square().sum(axes, keepdim=True) / count).sqrt()
    highest = torch.where(cells, values, -torch.inf).amax(axes, keepdim=True)
    live = (highest > torch.where(cells, values, torch.inf).amin(axes, keepdim=True)) & (std > std_floor)
    return torch.where(live, centred / (std + EPS), 0.0), live


def plain_factored(experience: Experience, scores: Tensor, absence: float = 0.25, cap: float = inf) -> Tensor:
    """The token-level term of factored RTT as its formula reads."""
    answer, scorable = experience.answer_mask[:, None], experience.scorable[..., None]
    p = torch.where(answer, experience.relevance, 0.0)
    weights = p * answer.sum(2, keepdim=True) / p.sum(2, keepdim=True)
    is_absent = (p.amax(2, keepdim=True) < absence) | (p.sum(2, keepdim=True) == 0)
    weights = torch.where(is_absent, answer.to(p), weights).clamp(max=cap)
    total = torch.where(answer & scorable, scores[..., None] * weights, 0.0).sum(1)
    return total / experience.scorable.sum(1, keepdim=True).clamp(min=1)


def make_experience(batch: int, rubric: int, token: int) -> Experience:
    """Ragged responses and rubrics, a tenth of the verdicts unscorable, groups of eight."""
    generator = torch.Generator().manual_seed(0)

    def below(highest: int, *shape: int) -> Tensor:
        return torch.randint(0, highest, shape, generator=generator)

    exists = torch.arange(rubric) < 1 + below(rubric, batch, 1)
    return Experience.by_hand(
        met=(below(2, batch, rubric) > 0) & exists,
        relevance=torch.rand(batch, rubric, token, generator=generator),
        weights=exists.float(),
        scorable=exists & (below(10, batch, rubric) > 0),
        group_ids=torch.arange(batch) // GROUP,
        response_mask=torch.arange(token) < min(40, token) + below(max(1, token - 39), batch, 1),
    )


def wrong(name: str) -> bool:
    """Whether a partition differs from its formula on a small window."""
    small = make_experience(5 * GROUP, 4, 90)
    exact = replace(small, relevance=small.relevance.double())
    if name == "factored":
        scores = advantages.criterion_normalize(small, graded=False)
        return not torch.allclose(
            factored(small, scores)[0].double(), plain_factored(exact, scores), rtol=1e-5, atol=1e-5
        )
    found, live = getattr(advantages, name)(small, 0.0)
    expected, expected_live = plain(name, exact)
    return not (torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-5) and torch.equal(live, expected_live))


def resident(field: str) -> int:
    """Bytes resident now (``VmRSS``) or at their peak (``VmHWM``)."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def extra_memory(work: Callable[[], object]) -> int:
    """Bytes that a call takes at its peak, what it returns included."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from what is resident now
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def seconds(works: dict[str, Callable[[], object]], fresh: bool) -> Iterator[tuple[str, float]]:
    """Of one call of each."""
    for name, work in works.items():
        if fresh:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        started = time.perf_counter()
        work()
        yield name, time.perf_counter() - started


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and most."""
    return [round(value, 3) for value in (median(values), min(values), max(values))]


def main(
    batch: int = 512,
    rubric: int = 5,
    token: int = 1090,
    repeats: int = 21,
    threads: int = 2,
    schemes: bool = False,
    formulas: bool = True,
) -> None:
    """Compare, then measure.

    Args:
        batch: Responses, in groups of 8.
        rubric: Criteria of the longest rubric.
        token: Tokens of the longest response.
        repeats: Of each; one more warms up.
        threads: That torch may use.
        schemes: Time whole schemes as well.
        formulas: Time the plain formulas of intra- and inter-sample as well.
    """
    torch.set_num_threads(threads)
    differ = [name for name in (*NAMES, "factored") if wrong(name)]
    if differ:
        sys.exit(f"not equal to the plain formula: {', '.join(differ)}")
    experience = make_experience(batch, rubric, token)
    scores = advantages.criterion_normalize(experience, graded=False)
    works: dict[str, Callable[[], object]] = {"clone": experience.relevance.clone}
    works |= {name: lambda name=name: getattr(advantages, name)(experience, 0.0) for name in NAMES}
    works["factored"] = lambda: factored(experience, scores)
    if schemes:
        contrast = torch.randn(batch, token, generator=torch.Generator().manual_seed(1))
        whole = replace(experience, contrast=contrast, truncated=torch.arange(batch) % 5 == 0)
        works |= {name: lambda algorithm=algorithm: algorithm(whole) for name, algorithm in SCHEMES.items()}
    if formulas:
        works |= {f"plain {name}": lambda name=name: plain(name, experience) for name in (NAMES[0], NAMES[2])}
    rows: dict[str, dict[str, Any]] = {name: {} for name in works}
    for name, work in works.items():
        rows[name]["extra bytes / relevance"] = round(extra_memory(work) / experience.relevance.nbytes, 2)
    for kind in ("fresh", "warm"):
        turns = [dict(seconds(works, kind == "fresh")) for _ in range(repeats + 1)][1:]
        for name, row in rows.items():
            row[f"{kind} ms"] = spread([1000 * turn[name] for turn in turns])
            row[f"{kind} / clone"] = spread([turn[name] / turn["clone"] for turn in turns])
    print(f"{batch} x {rubric} x {token}, fp32, {threads} threads, {repeats} repeats: median (least-most)")
    for name, row in rows.items():
        parts = (
            f"{what} " + "{:.2f} ({:.2f}-{:.2f})".format(*row[what]) for what in row if isinstance(row[what], list)
        )
        print(f"{name:30} {', '.join(parts)}, extra memory {row['extra bytes / relevance']} x")
    print(json.dumps({"shape": [batch, rubric, token], "threads": threads, "repeats": repeats, "rows": rows}))


if __name__ == "__main__":
    auto_cli(main)
