"""The formulas as slow loops over Python numbers, for comparison."""

from collections.abc import Callable
from math import exp, sqrt

from rtt_lightning.types import Experience

EPS = 1e-6
Reward = tuple[float, bool]


def decoupled(
    new: float, old: float, sampler: float, advantage: float, clip_low: float, clip_high: float, cap: float
) -> float:
    """The loss of one token: the decoupled objective of arXiv 2505.24298, with its weight cut at ``cap``."""
    ratio, weight = exp(new - old), exp(old - sampler)
    clipped = max(1 - clip_low, min(ratio, 1 + clip_high))
    return -min(weight, cap) * min(ratio * advantage, clipped * advantage)


def desired(experience: Experience) -> list[list[float | None]]:
    """Of each response and criterion the desired value; ``None`` where there is no criterion or no verdict."""
    rows = zip(experience.weights.tolist(), experience.value.tolist(), experience.scorable.tolist(), strict=True)
    return [
        [(value if weight > 0 else 1 - value) if decided else None for weight, value, decided in zip(*row, strict=True)]
        for row in rows
    ]


def by_row(experience: Experience, reward: Callable[..., Reward]) -> list[Reward]:
    """``reward(criteria)`` of each response, with a dict of each criterion of its rubric."""
    names = ("weights", "met", "scorable", "value", "hard")
    columns = [getattr(experience, name).tolist() for name in names]
    table = zip(*columns, strict=True)
    rubrics = ([dict(zip(names, cell, strict=True)) for cell in zip(*row, strict=True)] for row in table)
    return [reward([criterion for criterion in rubric if criterion["weights"]]) for rubric in rubrics]


def mean_desired(criteria: list[dict]) -> Reward:
    values = [c["value"] if c["weights"] > 0 else 1 - c["value"] for c in criteria if c["scorable"]]
    return (sum(values) / len(values), True) if values else (0.0, False)


def all_or_nothing(criteria: list[dict]) -> Reward:
    known = bool(criteria) and all(c["scorable"] for c in criteria)
    return float(known and all(c["met"] == (c["weights"] > 0) for c in criteria)), known


def lower_bound(criteria: list[dict]) -> Reward:
    fine = [c["scorable"] and c["met"] == (c["weights"] > 0) for c in criteria]
    return float(bool(fine) and all(fine)), bool(fine)


def hybrid(criteria: list[dict]) -> Reward:
    passed, known = all_or_nothing(criteria)
    return ((passed + mean_desired(criteria)[0]) / 2, True) if known else (0.0, False)


def hard_all_or_nothing(criteria: list[dict]) -> Reward:
    hard = [c for c in criteria if c["hard"]]
    known = bool(criteria) and all(c["scorable"] for c in hard)
    return float(known and all(c["met"] == (c["weights"] > 0) for c in hard)), known


def soft_rate(criteria: list[dict]) -> Reward:
    return mean_desired([c for c in criteria if not c["hard"]])


def weighted_mean(criteria: list[dict]) -> Reward:
    decided = [c for c in criteria if c["scorable"]]
    total = sum(c["weights"] for c in decided if c["weights"] > 0)
    return (sum(c["weights"] * c["value"] for c in decided) / total, True) if total else (0.0, False)


def hard_times_soft(criteria: list[dict]) -> Reward:
    sides = [[c for c in criteria if c["hard"] == kind] for kind in (True, False)]
    means = [mean_desired(side) for side in sides if side]
    if not means or not all(known for _, known in means):
        return 0.0, False
    product = 1.0
    for mean, _ in means:
        product *= mean
    return product, True


def differ(values: list[float]) -> bool:
    return max(values) - min(values) > EPS * max(1, *map(abs, values))


def group_normalize(rewards, known, groups, scale=True):
    out = [0.0] * len(rewards)
    for i, group in enumerate(groups):
        mine = [r for r, k, g in zip(rewards, known, groups, strict=True) if g == group and k]
        if not known[i] or len(mine) < 2 or not differ(mine):
            continue
        mean = sum(mine) / len(mine)
        std = sqrt(sum((r - mean) ** 2 for r in mine) / (len(mine) - 1))
        out[i] = (rewards[i] - mean) / (std + EPS) if scale else rewards[i] - mean
    return out


def gdpo(experience: Experience) -> tuple[list[float], list[Reward]]:
    """Advantage of each response, and its reward."""
    values, weights, groups = desired(experience), experience.weights.tolist(), experience.group_ids.tolist()
    scores = []
    for k in range(len(values[0]) if values else 0):
        column = [row[k] for row in values]
        scores.append(group_normalize([v or 0.0 for v in column], [v is not None for v in column], groups))
    mixed, rewards = [], []
    for i, row in enumerate(values):
        decided = [k for k, value in enumerate(row) if value is not None]
        total = sum(abs(weights[i][k]) for k in decided)
        rewards.append((sum(abs(weights[i][k]) * row[k] for k in decided) / total, True) if total else (0.0, False))
        mixed.append(sum(abs(weights[i][k]) * scores[k][i] for k in decided) / total if total else None)
    known = [value for value in mixed if value is not None]
    if len(known) < 2:
        return [0.0] * len(mixed), rewards
    mean = sum(known) / len(known)
    std = sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return [0.0 if value is None or std <= EPS else (value - mean) / (std + EPS) for value in mixed], rewards


def token_advantages(
    experience: Experience, pool: Callable[[int, int], bool], gate: Callable[[int, int], bool] = lambda i, k: True
) -> list[list[float]]:
    """``pool(i, j)``: do the tokens of row j belong to the statistics of row i? ``gate(i, k)``: does a cell count?"""
    p, answer, groups = (getattr(experience, n).tolist() for n in ("relevance", "answer_mask", "group_ids"))
    met, weights, scorable = (getattr(experience, n).tolist() for n in ("met", "weights", "scorable"))
    rows, rubric, tokens = experience.relevance.shape
    out = [[0.0] * tokens for _ in range(rows)]

    def reward(j: int, k: int, t: int) -> float:
        return p[j][k][t] if met[j][k] == (weights[j][k] > 0) else -p[j][k][t]

    for i in range(rows):
        for k in range(rubric):
            if not scorable[i][k]:
                continue
            values = [
                reward(j, k, t)
                for j in range(rows)
                for t in range(tokens)
                if groups[i] == groups[j] and pool(i, j) and scorable[j][k] and answer[j][t]
            ]
            if not values or max(values) == min(values) or not gate(i, k):
                continue
            mean = sum(values) / len(values)
            std = sqrt(sum((v - mean) ** 2 for v in values) / len(values))
            for t in range(tokens):
                if answer[i][t]:
                    out[i][t] += (reward(i, k, t) - mean) / (std + EPS) / sum(scorable[i])
    return out
