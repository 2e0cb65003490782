"""The schemes as slow loops over Python numbers, for comparison; what they share is in `tests.functional.oracle`."""

from rtt_lightning.types import Experience
from tests.functional.oracle import group_normalize


def lists(experience: Experience, *names: str) -> list:
    """Fields as Python numbers."""
    return [getattr(experience, name).tolist() for name in names]


def desired_verdicts(experience: Experience) -> list[list[int | None]]:
    """1 where a criterion is as desired, 0 where not, ``None`` where there is none or no verdict."""
    met, weights, scorable = lists(experience, "met", "weights", "scorable")
    return [
        [int(m == (w > 0)) if s else None for m, w, s in zip(*row, strict=True)]
        for row in zip(met, weights, scorable, strict=True)
    ]


def verdict_scores(experience: Experience, scale: bool = True) -> list[list[float]]:
    """Z of each response and criterion, 0 where there is no verdict."""
    verdicts, [groups] = desired_verdicts(experience), lists(experience, "group_ids")
    columns = [
        group_normalize([v or 0 for v in column], [v is not None for v in column], groups, scale)
        for column in zip(*verdicts, strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def factored(experience: Experience, absence: float, cap: float | None, scale: bool = True) -> list[list[float]]:
    """The token-level term of `FactoredRTT`."""
    p, answer, scorable = lists(experience, "relevance", "answer_mask", "scorable")
    out = [[0.0] * len(row) for row in answer]
    for i, scores in enumerate(verdict_scores(experience, scale)):
        inside = [t for t, is_answer in enumerate(answer[i]) if is_answer]
        for k, score in enumerate(scores):
            values = [p[i][k][t] for t in inside]
            if not scorable[i][k] or not values:
                continue
            is_absent = max(values) < absence or max(values) == 0
            for t in inside:
                weight = 1.0 if is_absent else p[i][k][t] * len(values) / sum(values)
                out[i][t] += score * (weight if cap is None else min(weight, cap)) / sum(scorable[i])
    return out


def at_tokens(experience: Experience, response: list[float], token: list[list[float]] | None = None) -> list:
    """The response level at all tokens of a response, and the token level."""
    mask = experience.response_mask.tolist()
    token = token or [[0.0] * len(row) for row in mask]
    return [
        [a * inside + t for inside, t in zip(*row, strict=True)] for a, *row in zip(response, mask, token, strict=True)
    ]
