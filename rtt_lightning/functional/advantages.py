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
    _, group = group_ids.unique(return_inverse=True)
    groups = int(group.max()) + 1 if len(group) else 0
    zeros = rewards.new_zeros(groups)
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
    groups, moved = len(group_ids.unique()), len(group_ids[advantages != 0].unique())
    return torch.tensor(groups - moved) / groups


def criterion_normalize(experience: Experience) -> Float[Tensor, "batch rubric"]:
    """`group_normalize` of each criterion's desired values, over the responses of a group that are scorable on it.

    Criteria of a group must be in the same order in every row.
    """
    rubric = experience.weights.shape[1]
    _, group = experience.group_ids.unique(return_inverse=True)
    cells = group[:, None] * rubric + torch.arange(rubric, device=group.device)
    flat = group_normalize(experience.desired_value.flatten(), experience.scorable.flatten(), cells.flatten())
    return flat.unflatten(0, experience.weights.shape)


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

    With m of T tokens relevant, p in {0, 1}, relevant tokens get sqrt((T - m) / m). Sums to 0 over each response.
    """
    scores, live = _z_score(token_rewards(experience), _cells(experience), (2,), std_floor)
    return _mean_over_rubric(scores, experience), live[..., 0]


def inter_sample(experience: Experience, std_floor: float = 0.0) -> Credit:
    """z-score over all tokens of all responses of a group, per criterion, then mean over criteria (Eq. 8).

    Criteria of a group must be in the same order in every row.
    """
    rewards, mask = token_rewards(experience), _cells(experience)
    scores, live = torch.zeros_like(rewards), torch.zeros_like(experience.scorable)
    for group in experience.group_ids.unique():
        rows = experience.group_ids == group
        scores[rows], group_live = _z_score(rewards[rows], mask[rows], (0, 2), std_floor)
        live[rows] = group_live[..., 0] & experience.scorable[rows]
    return _mean_over_rubric(scores, experience), live


def no_partition(experience: Experience, std_floor: float = 0.0) -> Credit:
    """Mean over criteria of the token rewards themselves; every scorable cell with a token is live."""
    live = experience.scorable & experience.answer_mask.any(-1, keepdim=True)
    return _mean_over_rubric(token_rewards(experience), experience), live


def add(response: PerToken, token: PerToken, alpha: float, beta: float) -> PerToken:
    """alpha A_res + beta A_tok (Eq. 7)."""
    return alpha * response + beta * token


def mix(response: PerToken, token: PerToken, alpha: float, beta: float) -> PerToken:
    """alpha (1 - beta) A_res + beta A_tok; with alpha = 1 a convex mix of the two levels."""
    return alpha * (1 - beta) * response + beta * token


def _z_score(values: Tensor, mask: Tensor, dims: tuple[int, ...], std_floor: float) -> tuple[Tensor, Tensor]:
    """Masked z-score over ``dims`` with population std; 0 where all values are equal or spread <= ``std_floor``.

    Returns the scores and, with ``dims`` kept as size 1, which cells are live.
    """
    if not values.numel():
        empty = mask.sum(dims, keepdim=True) > 0
        return values, empty
    count = mask.sum(dims, keepdim=True).clamp(min=1)
    mean = torch.where(mask, values, 0.0).sum(dims, keepdim=True) / count
    centred = torch.where(mask, values - mean, 0.0)
    std = (centred.square().sum(dims, keepdim=True) / count).sqrt()
    highest = torch.where(mask, values, -torch.inf).amax(dims, keepdim=True)
    lowest = torch.where(mask, values, torch.inf).amin(dims, keepdim=True)
    live = (highest > lowest) & (std > std_floor)
    return torch.where(live, centred / (std + EPS), 0.0), live


def _cells(experience: Experience) -> Bool[Tensor, "batch rubric token"]:
    """The tokens of each scorable (response, criterion) that can earn credit."""
    return experience.answer_mask[:, None, :] & experience.scorable[..., None]


def _mean_over_rubric(scores: Float[Tensor, "batch rubric token"], experience: Experience) -> PerToken:
    """Mean over scorable criteria; 0 outside the answer."""
    scorable = experience.scorable
    total = torch.where(scorable[..., None], scores, 0.0).sum(1)
    return total / scorable.sum(1).clamp(min=1)[:, None] * experience.answer_mask
