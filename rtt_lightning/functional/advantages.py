"""Rewards to advantages: the group baseline of GRPO, the token partitions of RTT and how the two combine.

A *partition* is the set of axes that mean and standard deviation are taken over. Every partition has the signature

    (experience, std_floor) -> (advantage [batch token], live [batch rubric])

so that any of them, or one of your own, can be given to `RTT` as ``partition``. ``advantage`` is 0 outside
``answer_mask``: end-of-sequence, special and reasoning tokens earn no token credit. A cell (response, criterion) is
*live* when its values differ by more than ``std_floor``; the others contribute 0 but stay in the mean over criteria.
Unscorable cells do not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rtt_lightning.functional.cells import bits, by_rows, centred, pooled, segments, share, weighted_sum, working
from rtt_lightning.types import Experience
from rtt_lightning.types.axes import Bool, Float, Int

EPS = 1e-6

PerResponse = Float[Tensor, " batch"]
PerToken = Float[Tensor, "batch token"]
Credit = tuple[PerToken, Bool[Tensor, "batch rubric"]]
Partition = Callable[[Experience, float], tuple[Tensor, Tensor]]
Combine = Callable[[Tensor, Tensor, float, float], Any]
"""(A_res [batch token], A_tok [batch token], alpha, beta) -> advantage [batch token]; said to return anything, since
jsonargparse takes a callable that returns a tensor for the name of a class."""


def group_normalize(
    rewards: PerResponse, known: Bool[Tensor, " batch"], group_ids: Int[Tensor, " batch"], scale: bool = True
) -> PerResponse:
    """(r - mean) / (std + eps) over the responses of a group: the response advantage of GRPO.

    Args:
        rewards: ``[batch]``.
        known: ``[batch]`` bool; unknown rewards take no part and get 0.
        group_ids: ``[batch]`` long, any values in any order.
        scale: Divide by the sample standard deviation, as the authors' code does; False is Dr. GRPO.

    Returns:
        ``[batch]``; exactly 0 throughout a group with fewer than two known rewards, or whose rewards do not `differ`;
        not finite in a group with a reward that is not.
    """
    group, zeros = segments(group_ids), torch.zeros_like(rewards)
    counts = zeros.index_add(0, group, known.to(rewards))
    means = zeros.index_add(0, group, torch.where(known, rewards, 0.0)) / counts.clamp(min=1)
    centred = torch.where(known, rewards - means[group], 0.0)
    # Equality is tested as such: rounding of the mean divided by eps would leave up to 0.1 in fp32.
    highest = zeros.scatter_reduce(0, group, torch.where(known, rewards, -torch.inf), "amax", include_self=False)
    lowest = zeros.scatter_reduce(0, group, torch.where(known, rewards, torch.inf), "amin", include_self=False)
    varied = (counts >= 2) & differ(lowest, highest)
    centred = torch.where(varied[group], centred, 0.0)
    if not scale:
        return centred
    variance = zeros.index_add(0, group, centred.square()) / (counts - 1).clamp(min=1)
    return centred / (variance.sqrt()[group] + EPS)


def differ(lowest: Tensor, highest: Tensor) -> Tensor:
    """Whether rewards are apart by more than rounding: by more than `EPS`, times the larger size where that is above 1.

    Sums of weights in another order, 0.1 + 0.2 and 0.3, are not equal; over their spread they would get +-0.04. What is
    not finite differs: it must not pass for equal.
    """
    spread = highest - lowest
    near = spread <= EPS * torch.maximum(highest.abs(), lowest.abs()).clamp(min=1)
    return ~near | (spread == torch.inf)


def flat_groups(advantages: PerResponse, group_ids: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Share of groups whose advantages are all 0; NaN without a group."""
    group, zeros = segments(group_ids), torch.zeros_like(group_ids)
    responses, moved = (zeros.index_add(0, group, part.to(zeros)) for part in (zeros == 0, advantages != 0))
    return ((responses > 0) & (moved == 0)).sum() / (responses > 0).sum()


def criterion_normalize(
    experience: Experience, graded: bool = True, scale: bool = True
) -> Float[Tensor, "batch rubric"]:
    """`group_normalize` of each criterion over the responses of a group that are scorable on it; 0 where not scorable.

    Criteria of a group must be in the same order in every row.

    Args:
        experience: Of a window.
        graded: Of desired values; False of verdicts, 1 if as desired and 0 if not.
        scale: As of `group_normalize`.
    """
    values = experience.desired_value if graded else experience.as_desired.to(experience.desired_value)
    rubric = values.shape[1]
    group = segments(experience.group_ids)
    cells = group[:, None] * rubric + torch.arange(rubric, device=group.device)
    flat = group_normalize(values.flatten(), experience.scorable.flatten(), cells.flatten(), scale)
    return flat.unflatten(0, values.shape)


def window_normalize(
    values: PerResponse, known: Bool[Tensor, " batch"], reduce: Callable[[Tensor], Tensor]
) -> PerResponse:
    """(v - mean) / (std + eps) over all known responses of the window, those of all processes together; sample std.

    0 for what is not known, and throughout where values do not spread by more than rounding. Sums are taken in double,
    so that the number of processes makes no difference.

    Args:
        values: ``[batch]`` of this process.
        known: ``[batch]`` bool.
        reduce: Sum over processes. A collective.
    """
    exact = torch.where(known, values.double(), 0.0)
    total, count = reduce(torch.stack([exact.sum(), known.sum().double()]))
    centred = torch.where(known, exact - total / count.clamp(min=1), 0.0)
    std = (reduce(centred.square().sum()) / (count - 1).clamp(min=1)).sqrt()
    return (centred / (std + EPS)).to(values) * (std > EPS)


def token_rewards(experience: Experience) -> Float[Tensor, "batch rubric token"]:
    """r[i,k,t] = s[i,k] p[i,k,t] with soft p."""
    return experience.signs[..., None] * experience.relevance


def intra_sample(experience: Experience, std_floor: float = 0.0) -> Credit:
    """z-score over the tokens of each (response, criterion), then mean over criteria: the paper's proposal.

    A_tok = sum_k c_k (p_k - mean p_k) with c_k = s_k / (std p_k K), since z(s p) = s z(p).
    With m of T tokens relevant, p in {0, 1}, relevant tokens get sqrt((T - m) / m). Sums to 0 over each response.
    """
    return _within_responses(experience, experience.signs, std_floor)


def gated_intra_sample(experience: Experience, std_floor: float = 0.0) -> Credit:
    """`intra_sample` times [the group's verdicts on k differ]: cells of other criteria are 0 and stay in the mean.

    Ours. Intra-sample credit is centred over tokens, not over responses: a criterion that every response meets keeps
    pushing its words up. Here it is at rest, and so is a response alone. Which cells are live is as there.
    """
    differs = criterion_normalize(experience, graded=False) != 0
    return _within_responses(experience, experience.signs * differs, std_floor)


def inter_sample(experience: Experience, std_floor: float = 0.0) -> Credit:
    """z-score over all tokens of all responses of a group, per criterion, then mean over criteria (Eq. 8).

    A_tok = sum_k c_k (p_k - s_k m_k) with c_k = s_k / (d_k K), m_k and d_k mean and std of s_k p_k over the group.
    Criteria of a group must be in the same order in every row.
    """
    return _over_group(experience, experience.relevance, experience.scorable, experience.signs, std_floor)


def rubric_mean(experience: Experience, std_floor: float = 0.0) -> Credit:
    """z-score over all tokens of all responses of a group of their token rewards' mean over criteria.

    A response without a verdict takes no part. Cells are live together, as their mean is; a spread below 1e-7 is that
    of rounding, as means of equal values over other numbers of criteria have it.
    """
    rewards, _ = no_partition(experience)
    decided = experience.scorable.any(1, keepdim=True)
    token, live = _over_group(experience, rewards[:, None], decided, decided.double(), max(std_floor, 1e-7))
    return token, live & experience.scorable


def softmax_spread(experience: Experience, std_floor: float = 0.0) -> Credit:
    """sum_k softmax_k(p) z_k: each criterion's verdicts, compared within the group, spread over tokens.

    The softmax is over scorable criteria, and z_k the population z-score of s_k over the responses scorable on k. A
    cell is live where z_k is.
    """
    signs, scorable = experience.signs.double(), experience.scorable
    middle, variance = pooled(scorable.double(), signs, torch.zeros_like(signs), experience.group_ids)
    scale, live = _inverse(variance, scorable, std_floor)
    scores = torch.where(live, (signs - middle) * scale, 0.0)

    def block(relevance: Tensor, scorable: Tensor, scores: Tensor, answer: Tensor) -> tuple[Tensor]:
        spread = relevance.to(working(relevance)).masked_fill(~scorable[..., None], -torch.inf).softmax(1)
        return (weighted_sum(spread, scores, answer),)

    [token] = by_rows(block, experience.relevance, scorable, scores, bits(experience.answer_mask))
    return token, live


def no_partition(experience: Experience, std_floor: float = 0.0) -> Credit:
    """Mean over criteria of the token rewards themselves; every scorable cell with a token is live."""
    answer, scorable = experience.answer_mask, experience.scorable
    weights = experience.signs * share(scorable)
    [token] = by_rows(lambda *rows: (weighted_sum(*rows),), experience.relevance, weights, bits(answer))
    return token, scorable & (answer.sum(1, keepdim=True) > 0)


def add(response: PerToken, token: PerToken, alpha: float, beta: float) -> PerToken:
    """alpha A_res + beta A_tok (Eq. 7)."""
    return alpha * response + beta * token


def mix(response: PerToken, token: PerToken, alpha: float, beta: float) -> PerToken:
    """alpha (1 - beta) A_res + beta A_tok; with alpha = 1 a convex mix of the two levels."""
    return alpha * (1 - beta) * response + beta * token


def _within_responses(experience: Experience, signs: Tensor, std_floor: float) -> Credit:
    """`intra_sample` with ``signs`` ``[batch rubric]``."""

    def block(relevance: Tensor, answer: Tensor, scorable: Tensor, signed: Tensor) -> tuple[Tensor, Tensor]:
        apart, _, _, variance = centred(relevance, answer)
        scale, live = _inverse(variance, scorable, std_floor)
        return weighted_sum(apart, signed * scale, answer), live

    scorable, answer = experience.scorable, bits(experience.answer_mask)
    token, live = by_rows(block, experience.relevance, answer, scorable, signs * share(scorable))
    return token, live


def _over_group(
    experience: Experience, values: Tensor, scorable: Tensor, signs: Tensor, std_floor: float
) -> tuple[Tensor, Tensor]:
    """`inter_sample` of ``values`` ``[batch rubric token]`` with ``signs`` ``[batch rubric]`` of any criteria."""
    answer, signs, dtype = bits(experience.answer_mask), signs.double(), working(values)
    count, mean, variance = by_rows(lambda *rows: centred(*rows)[1:], values, answer)
    middle, variance = pooled(count.double() * scorable, signs * mean, variance.double(), experience.group_ids)
    scale, live = _inverse(variance.to(dtype), scorable, std_floor)
    weights, middle = signs * scale * share(scorable), torch.where(live, signs * middle, 0.0)
    near = middle.to(dtype)
    rest = (weights * (near - middle)).sum(1, keepdim=True).to(dtype)  # what rounding left of the mean

    def block(values: Tensor, near: Tensor, weights: Tensor, answer: Tensor, rest: Tensor) -> tuple[Tensor]:
        return (weighted_sum(values - near[..., None], weights, answer, rest),)

    [token] = by_rows(block, values, near, weights, answer, rest)
    return token, live


def _inverse(variance: Tensor, scorable: Tensor, std_floor: float) -> tuple[Tensor, Tensor]:
    """1 / (std + eps) of live cells, 0 of others; and which are live. All ``[batch rubric]``."""
    std = variance.sqrt()
    live = scorable & (std > std_floor)
    return torch.where(live, 1 / (std + EPS), 0.0), live
