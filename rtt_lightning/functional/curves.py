"""Accuracies of training runs by their distance from the reference, compared at an equal one."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rtt_lightning.functional.intervals import ALPHA, RESAMPLES


def at_kl(kls: Sequence[float], values: np.ndarray, kl: float) -> np.ndarray | None:
    """The values of a run where its curve first reaches a KL, linear between evaluations; ``None`` if it never does.

    Args:
        kls: Of each evaluation in order of training, the first 0; it need not rise throughout.
        values: ``[evaluation ...]``.
        kl: >= 0.
    """
    for step, (before, after) in enumerate(pairwise(kls)):
        if before <= kl <= after:
            share = (kl - before) / (after - before) if after > before else 0.0
            return (1 - share) * values[step] + share * values[step + 1]
    return None


def common_kl(curves: Sequence[Sequence[float]]) -> float:
    """The largest KL that all runs reach."""
    return min(max(kls) for kls in curves)


def crossed_bootstrap(counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """``[1 + resample arm]``: the share of successes of each arm, in the sample itself and in resamples.

    A resample draws seeds and prompts, both with replacement and the same ones for all arms, so that what is easy
    cancels in differences of arms: runs are paired by seed, and evaluations by prompt. Every seed has the same
    prompts, so the two are drawn independently (Owen 2007, "The pigeonhole bootstrap": somewhat wider than it need be).

    Args:
        counts: ``[arm seed prompt 2]``, successes and trials.
        seed: Of the resampling.
    """
    _, seeds, prompts, _ = counts.shape
    random = np.random.default_rng(seed)
    of_seeds, of_prompts = (
        np.concatenate([np.ones((1, size)), random.multinomial(size, np.full(size, 1 / size), size=RESAMPLES)])
        for size in (seeds, prompts)
    )
    drawn = np.einsum("rs,rp,aspc->rac", of_seeds, of_prompts, counts, optimize=True)
    with np.errstate(invalid="ignore"):
        return drawn[..., 0] / drawn[..., 1]


def estimate(values: np.ndarray) -> dict[str, float]:
    """A statistic with its 95 % interval, from `crossed_bootstrap`: ``mean``, ``low``, ``high`` and a two-sided ``p``.

    ``p`` is twice the share of resamples on the other side of 0, at least 2 / (resamples + 1).

    Args:
        values: ``[1 + resample]``; not finite where a resample has no trials.
    """
    found, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    if not resampled.size:
        return dict.fromkeys(("mean", "low", "high", "p"), float("nan"))
    low, high = np.percentile(resampled, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return {
        "mean": found,
        "low": float(low),
        "high": float(high),
        "p": float(min(1.0, 2 * (beyond + 1) / (resampled.size + 1))),
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
