"""What a comparison says, as numbers: accuracies at an equal KL and at the end, paired over prompts and seeds."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from statistics import fmean
from typing import Any

import numpy as np

from rtt_lightning.comparison.grid import Grid
from rtt_lightning.comparison.results import Curve, unseen_prompts
from rtt_lightning.comparison.words import TRAINED
from rtt_lightning.functional.accuracy import LOWER, RUBRIC, accuracy_by_kind, accuracy_ratios, counts_by_kind
from rtt_lightning.functional.curves import at_kl, common_kl, crossed_bootstrap, estimate, holm
from rtt_lightning.functional.frontier import frontier
from rtt_lightning.reports.curves import read_metrics
from rtt_lightning.types import JudgedRollout

ACCURACIES = {RUBRIC: "rubric-level", LOWER: "instruction-level"}
"""At instruction level the lower bound: the accuracy itself where everything was decided."""
Arms = Mapping[str, Sequence[Curve]]
"""The curves of each method, one per seed, in the same order of seeds."""


def measure(grid: Grid, curves: Mapping[str, Curve], model: str, kl: float | None = None) -> dict[str, Any]:
    """The comparison of the methods on one model, over the seeds that all of them have completed.

    Args:
        grid: What is compared.
        curves: Complete runs by name.
        model: Of the grid.
        kl: To compare at, in nats per response; ``None`` for the largest that all runs reach.

    Returns:
        ``seeds``; ``kl``, or ``None`` if some run has none, ``without_kl``; ``at_kl`` and ``last``, each by split and
        accuracy what `gains` finds; ``points`` of each method's mean curve; ``kinds``; ``metrics`` after the last
        update, before it ``start``, and ``training``; ``tripped``, the guards that each run trips. Empty without a seed
        that all methods have completed.
    """
    arms, seeds = _arms(grid, curves, model)
    if not seeds:
        return {}
    runs = [curve for of in arms.values() for curve in of]
    prompts, unseen = [*runs[0].evaluations[0].counts], unseen_prompts(runs)
    without_kl = [curve.run.name for curve in runs if all(map(isnan, curve.kls[1:]))]
    if without_kl:
        kl = None
    elif kl is None:
        kl = common_kl([[value for value in curve.kls if not isnan(value)] for curve in runs])
    parts = {"seen kinds": [p for p in prompts if p not in unseen], "unseen kinds": [p for p in prompts if p in unseen]}
    splits = {"all": prompts} | (parts if all(parts.values()) else {})
    return {
        "seeds": seeds,
        "kl": kl,
        "without_kl": without_kl,
        "at_kl": {} if kl is None else {name: _split(grid, arms, some, kl) for name, some in splits.items()},
        "last": {name: _split(grid, arms, some, None) for name, some in splits.items()},
        "points": {method: _points(of) for method, of in arms.items()},
        "kinds": _kinds(arms),
        "tripped": {m: {c.run.name: c.tripped for c in of if c.tripped} for m, of in arms.items()},
        "start": _mean([curve.evaluations[0].metrics for curve in next(iter(arms.values()))]),
        "metrics": {method: _mean([curve.evaluations[-1].metrics for curve in of]) for method, of in arms.items()},
        "training": {method: _mean([_training(curve) for curve in of]) for method, of in arms.items()},
    }


def rubric_frontier(judged: Sequence[JudgedRollout]) -> tuple[np.ndarray, np.ndarray] | None:
    """The `frontier` of rubric-level accuracy, from responses of the policy before training, as many to each prompt.

    A response's reward is its number of criteria as desired over the mean number of decided ones, so that the mean
    reward is the accuracy. Prompts without a decided criterion are left out; ``None`` if these are all.
    """
    counts: dict[str, list[tuple[int, int]]] = {}
    for item in judged:
        decided = [desired for desired in item.as_desired if desired is not None]
        counts.setdefault(item.sample.id, []).append((sum(decided), len(decided)))
    table = np.array([rows for rows in counts.values() if any(decided for _, decided in rows)], float)
    return frontier(table[..., 0] / table[..., 1].mean()) if table.size else None


def _arms(grid: Grid, curves: Mapping[str, Curve], model: str) -> tuple[dict[str, list[Curve]], list[int]]:
    """The curves of methods that have any, over the seeds that all of these have."""
    of_model = [curve for curve in curves.values() if curve.run.model == model]
    have = {method: {c.run.seed: c for c in of_model if c.run.method == method} for method in grid.methods}
    have = {method: by_seed for method, by_seed in have.items() if by_seed}
    if grid.baseline not in have:
        return {}, []
    seeds = [seed for seed in grid.seeds if all(seed in by_seed for by_seed in have.values())]
    return {method: [by_seed[seed] for seed in seeds] for method, by_seed in have.items()}, seeds


def _split(grid: Grid, arms: Arms, prompts: Sequence[str], kl: float | None) -> dict[str, dict[str, Any]]:
    return {metric: gains(grid.baseline, arms, prompts, metric, kl) for metric in ACCURACIES}


def gains(baseline: str, arms: Arms, prompts: Sequence[str], metric: str, kl: float | None) -> dict[str, Any]:
    """An accuracy of each method, its gain over the policy before training, and its difference from the baseline.

    Intervals and p-values are by `crossed_bootstrap` over seeds and prompts; p of differences is corrected for the
    number of methods (`holm`). A method of which a run never reaches the KL is left out.

    Args:
        baseline: A method.
        arms: Curves.
        prompts: Ids of those that count.
        metric: Of `ACCURACIES`.
        kl: To compare at; ``None``: after the last update.

    Returns:
        By method: ``accuracy``, ``gain``, and unless it is the baseline ``difference``, each of `estimate`.
    """
    counts = {method: _counts(of, prompts, metric, kl) for method, of in arms.items()}
    known = {method: found for method, found in counts.items() if found is not None}
    before = np.stack([_of_evaluation(curve, 0, prompts, metric) for curve in next(iter(arms.values()))])
    shares = crossed_bootstrap(np.stack([before, *known.values()]))
    columns = {method: shares[:, number] for number, method in enumerate(known, start=1)}
    found = {
        method: {"accuracy": estimate(own), "gain": estimate(own - shares[:, 0])} for method, own in columns.items()
    }
    others = [method for method in columns if method != baseline and baseline in columns]
    for method in others:
        found[method]["difference"] = estimate(columns[method] - columns[baseline])
    for method, p in zip(others, holm([found[m]["difference"]["p"] for m in others]), strict=True):
        found[method]["difference"]["p"] = p
    return found


def _counts(curves: Sequence[Curve], prompts: Sequence[str], metric: str, kl: float | None) -> np.ndarray | None:
    """``[seed prompt 2]``, successes and trials, fractions between evaluations; ``None`` if a run never gets to it."""
    if kl is None:
        return np.stack([_of_evaluation(curve, -1, prompts, metric) for curve in curves])
    found = []
    for curve in curves:
        every = np.stack([_of_evaluation(curve, step, prompts, metric) for step in range(len(curve.evaluations))])
        there = at_kl(curve.kls, every, kl)
        if there is None:
            return None
        found.append(there)
    return np.stack(found)


def _of_evaluation(curve: Curve, step: int, prompts: Sequence[str], metric: str) -> np.ndarray:
    counts = curve.evaluations[step].counts
    return np.stack(accuracy_ratios(np.array([counts[prompt] for prompt in prompts]))[metric], 1).astype(float)


def _points(curves: Sequence[Curve]) -> list[dict[str, float]]:
    """The mean over seeds at each evaluation."""
    steps = range(len(curves[0].evaluations))
    return [
        _mean([{"update": float(c.evaluations[s].update), **c.evaluations[s].metrics} for c in curves]) for s in steps
    ]


def _kinds(arms: Arms) -> dict[str, dict[str, float]]:
    """Rubric-level accuracy by kind of criterion, before training and of each method after the last update."""
    one = next(iter(arms.values()))
    pools = {"start": [i for c in one for i in c.evaluations[0].judged]}
    pools |= {method: [i for c in of for i in c.evaluations[-1].judged] for method, of in arms.items()}
    by_pool = {name: accuracy_by_kind(counts_by_kind(pool)) for name, pool in pools.items()}
    return {kind: {name: by_pool[name].get(kind, (nan,))[0] for name in pools} for kind in by_pool["start"]}


def _training(curve: Curve) -> dict[str, float]:
    """Metrics of training, means over the last quarter of the updates; of times, over all."""
    logs = sorted((curve.run.folder / "logs").glob("version_*/metrics.csv"), key=lambda p: int(p.parent.name[8:]))
    found = {}
    for name, points in read_metrics(logs, TRAINED).items():
        if points:
            some = points if name.startswith("time/") else points[-max(1, len(points) // 4) :]
            found[name] = fmean(value for _, value in some)
    return found


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of metrics that all have."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: fmean(row[name] for row in rows) for name in names}
