"""The schemes as slow loops over Python numbers, for comparison; what they share is in `tests.functional.oracle`."""

from dataclasses import replace
from math import exp, isnan

from rtt_lightning.types import Experience
from tests.functional.oracle import Reward, by_row, group_normalize, hard_all_or_nothing, mean_desired, soft_rate


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


def rloo(rewards: list[Reward], groups: list[int]) -> list[float]:
    """Each known reward less the mean of the others of its group."""
    out = []
    for i, (reward, known) in enumerate(rewards):
        others = [r for j, (r, k) in enumerate(rewards) if k and j != i and groups[j] == groups[i]]
        out.append(reward - sum(others) / len(others) if known and others else 0.0)
    return out


def papo(experience: Experience) -> list[float]:
    groups = experience.group_ids.tolist()
    outcomes, qualities = by_row(experience, hard_all_or_nothing), by_row(experience, soft_rate)
    rated = [
        known and passed and outcome == 1 for (outcome, passed), (_, known) in zip(outcomes, qualities, strict=True)
    ]
    outcome = group_normalize([r for r, _ in outcomes], [k for _, k in outcomes], groups)
    quality = group_normalize([r for r, _ in qualities], rated, groups)
    return [a + b for a, b in zip(outcome, quality, strict=True)]


def response_level(experience: Experience) -> list[float]:
    """GRPO of the satisfaction rate."""
    rewards = by_row(experience, mean_desired)
    return group_normalize([r for r, _ in rewards], [k for _, k in rewards], experience.group_ids.tolist())


def cripo(experience: Experience, threshold: float) -> list[list[float]]:
    p, answer = lists(experience, "relevance", "answer_mask")
    verdicts, out = desired_verdicts(experience), at_tokens(experience, response_level(experience))
    for i, row in enumerate(out):
        for t, advantage in enumerate(row):
            belongs = any(verdict and p[i][k][t] >= threshold for k, verdict in enumerate(verdicts[i]))
            if advantage < 0 and belongs and answer[i][t]:
                row[t] = abs(advantage)
    return out


def cort(experience: Experience, tau: float, b: float, strength: float) -> list[list[float]]:
    contrast, answer = lists(experience, "contrast", "answer_mask")
    out = at_tokens(experience, response_level(experience))
    for i, row in enumerate(out):
        inside = [t for t, is_answer in enumerate(answer[i]) if is_answer]
        if any(isnan(contrast[i][t]) for t in inside):
            continue
        raw = {t: 1 + strength * (1 / (1 + exp(-tau * (contrast[i][t] - b))) - 0.5) for t in inside}
        for t in inside:
            row[t] *= raw[t] * len(raw) / sum(raw.values())
    return out


def with_end_tokens(experience: Experience) -> Experience:
    """What `EndToken` lets its algorithm see."""
    p, answer = experience.relevance.clone(), experience.answer_mask.clone()
    for i, length in enumerate(experience.response_mask.sum(1).tolist()):
        inside = [t for t, is_answer in enumerate(answer[i].tolist()) if is_answer]
        if inside and not experience.truncated[i] and length - 1 not in inside:
            for k in range(p.shape[1]):
                p[i, k, length - 1] = min(p[i, k, t].item() for t in inside)
            answer[i, length - 1] = True
    return replace(experience, relevance=p, answer_mask=answer)


def dynamic(experience: Experience, advantages: list[list[float]], keep: int) -> list[bool]:
    """The responses to the first ``keep`` prompts whose advantages are not all equal."""
    groups, mask = lists(experience, "group_ids", "response_mask")
    found: dict[int, set[float]] = {group: set() for group in sorted(set(groups))}
    for group, row, inside in zip(groups, advantages, mask, strict=True):
        found[group] |= {a for a, is_inside in zip(row, inside, strict=True) if is_inside}
    chosen = [group for group, values in found.items() if len(values) > 1][:keep]
    return [group in chosen for group in groups]


def at_tokens(experience: Experience, response: list[float], token: list[list[float]] | None = None) -> list:
    """The response level at all tokens of a response, and the token level."""
    mask = experience.response_mask.tolist()
    token = token or [[0.0] * len(row) for row in mask]
    return [
        [a * inside + t for inside, t in zip(*row, strict=True)] for a, *row in zip(response, mask, token, strict=True)
    ]
