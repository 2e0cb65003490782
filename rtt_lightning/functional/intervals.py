"""Shares with 95 % intervals, with trials clustered by prompt."""

import numpy as np

ALPHA = 0.05
RESAMPLES = 2_000


def exact_reach(trials: int) -> float:
    """How far a share may be from 0 (or 1) if none (or all) of ``trials`` >= 1 independent ones succeeded.

    The interval of Clopper and Pearson (1934) at 95 %: 0 of n gives [0, 1 - 0.025^(1/n)].
    """
    return 1 - (ALPHA / 2) ** (1 / trials)


def ratio_with_interval(counts: np.ndarray) -> dict[str, float]:
    """Sum of successes / sum of trials over prompts, with a 95 % interval for trials clustered by prompt: 1.96 standard
    errors of the ratio (Cochran, Sampling Techniques, 6.4), within [0, 1].

    If all trials failed or all succeeded, there is no spread to estimate an error from. The interval is then exact
    (see `exact_reach`) for as many trials as prompts, since responses to one prompt may be alike.

    Args:
        counts: ``[prompt 2]``, successes and trials.

    Returns:
        ``mean``, ``low`` and ``high``; NaN without trials, and without an interval for a single prompt.
    """
    successes, trials = counts[counts[:, 1] > 0].T
    if not trials.size:
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    mean, n = float(successes.sum() / trials.sum()), len(trials)
    if n == 1:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    if mean in (0, 1):
        reach = exact_reach(n)
        return {"mean": mean, "low": max(0.0, mean - reach), "high": min(1.0, mean + reach)}
    residuals = successes - mean * trials
    error = float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / trials.sum())
    return {"mean": mean, "low": max(0.0, mean - 1.96 * error), "high": min(1.0, mean + 1.96 * error)}


def difference_with_interval(counts: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Share after minus share before, and its 95 % interval by bootstrap over prompts.

    A resample draws prompts with replacement and takes all trials of a drawn prompt, before and after, so that easy and
    hard prompts cancel; each share is pooled over the drawn prompts. If both are 0 or both 1, no resample differs: the
    interval is then the exact one for the share of prompts that change, as none did.

    Args:
        counts: ``[2 2 prompt]``: before and after, successes and trials.
        seed: Of the resampling.

    Returns:
        Difference, lower bound, upper bound; NaN without trials.
    """
    prompts, total = counts.shape[-1], counts.sum(-1)
    if (total[:, 0] == 0).all() or (total[:, 0] == total[:, 1]).all():
        return 0.0, -exact_reach(prompts), exact_reach(prompts)
    drawn = np.einsum("rp,wcp->rwc", resamples(prompts, seed), counts)
    with np.errstate(invalid="ignore"):
        shares = drawn[..., 0] / drawn[..., 1]
    found, *differences = shares[:, 1] - shares[:, 0]
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return float(found), float(low), float(high)


def resamples(prompts: int, seed: int = 0) -> np.ndarray:
    """``[1 + RESAMPLES prompt]``: how often each prompt counts; once in the first row, the sample itself, and in the
    others as often as it is drawn with replacement.
    """
    draws = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES)
    return np.concatenate([np.ones((1, prompts), draws.dtype), draws])


def bootstrap_interval(values: np.ndarray, prompts: int, lowest: float = 0.0) -> dict[str, float]:
    """A statistic of `resamples` with its 95 % interval by bootstrap over prompts.

    Args:
        values: ``[1 + resample]``, that of the sample first; NaN where a resample lacks what it is about.
        prompts: Number of prompts that have a part in it.
        lowest: Of its values, the highest being 1. At 0 and at the ends there may be no spread; the interval is then
            the exact one for as many trials, as in `ratio_with_interval`.

    Returns:
        ``mean``, ``low`` and ``high``; without an interval for a single prompt.
    """
    mean = float(values[0])
    if prompts < 2 or np.isnan(mean):
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    low, high = (float(bound) for bound in np.nanpercentile(values[1:], [2.5, 97.5]))
    if low == high and mean in (lowest, 0, 1):
        low, high = max(lowest, mean - exact_reach(prompts)), min(1.0, mean + exact_reach(prompts))
    return {"mean": mean, "low": low, "high": high}
