"""The formulas of the paper as slow loops over Python numbers, for comparison."""

from math import sqrt

EPS = 1e-6


def group_normalize(rewards, known, groups):
    out = [0.0] * len(rewards)
    for i, group in enumerate(groups):
        mine = [r for r, k, g in zip(rewards, known, groups, strict=True) if g == group and k]
        if not known[i] or len(mine) < 2 or max(mine) == min(mine):
            continue
        mean = sum(mine) / len(mine)
        std = sqrt(sum((r - mean) ** 2 for r in mine) / (len(mine) - 1))
        out[i] = (rewards[i] - mean) / (std + EPS)
    return out


def token_advantages(rewards, scorable, answer, groups, pool):
    """``pool(i, j)``: do the tokens of row j belong to the statistics of row i?"""
    rows, rubric, tokens = len(rewards), len(rewards[0]), len(rewards[0][0])
    out = [[0.0] * tokens for _ in range(rows)]
    for i in range(rows):
        count = sum(scorable[i])
        for k in range(rubric):
            if not scorable[i][k]:
                continue
            values = [
                rewards[j][k][t]
                for j in range(rows)
                for t in range(tokens)
                if groups[i] == groups[j] and pool(i, j) and scorable[j][k] and answer[j][t]
            ]
            if not values or max(values) == min(values):
                continue
            mean = sum(values) / len(values)
            std = sqrt(sum((v - mean) ** 2 for v in values) / len(values))
            for t in range(tokens):
                if answer[i][t]:
                    out[i][t] += (rewards[i][k][t] - mean) / (std + EPS) / count
    return out
