"""Shares with 95 % intervals, over prompts whose trials belong together."""

import numpy as np

ALPHA = 0.05


def exact_reach(trials: int) -> float:
    """How far a share may be from 0 (or 1) where none (or all) of ``trials`` >= 1 independent ones succeeded.

    The interval of Clopper and Pearson (1934) at 95 %: 0 of n gives [0, 1 - 0.025^(1/n)].
    """
    return 1 - (ALPHA / 2) ** (1 / trials)


def ratio_with_interval(counts: np.ndarray) -> dict[str, float]:
    """Sum of successes / sum of trials over prompts, with a 95 % interval that knows that a prompt's trials belong
    together: 1.96 standard errors of the ratio (Cochran, Sampling Techniques, 6.4), within [0, 1].

    Where all trials failed or all succeeded there is no spread to estimate an error from, and the interval is exact,
    see `exact_reach`, for as many trials as there are prompts: the responses to one may all go the same way.

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
