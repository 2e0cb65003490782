"""Factored credit: what each verdict earns goes to the tokens that are relevant to it."""

import torch
from torch import Tensor

from rtt_lightning.functional.cells import bits, by_rows, from_mean, kept, share, weighted_sum, working
from rtt_lightning.types import Experience
from rtt_lightning.types.axes import Bool, Float


def factored(
    experience: Experience, scores: Float[Tensor, "batch rubric"], absence: float = 0.25, cap: float | None = None
) -> tuple[Float[Tensor, "batch token"], Bool[Tensor, "batch rubric"]]:
    """A_tok = mean over scorable k of Z_k w_k with w_k = p_k / (mean of p_k over the answer).

    w has mean 1 over the answer and is 0 outside. It is 1, exactly, where p is equal throughout, and where no token is
    relevant, max_t p < ``absence``: a response is to blame as a whole for what is not in it. A threshold on the sum or
    mean of p would depend on length.

    Computed as sum_k Z_k / K + sum_k (Z_k / (K mean p_k)) (p_k - mean p_k), since w = 1 + (p - mean p) / mean p.

    Args:
        experience: Of a window.
        scores: Z; not read where not scorable.
        absence: Least p that shows that a response says something of a criterion.
        cap: Bound on w, at least 1; its mean is then below 1. None for none.

    Returns:
        A_tok, and which cells are live: those where w varies.
    """
    dtype = working(experience.relevance)
    scores = torch.where(experience.scorable, scores, 0.0).double() * share(experience.scorable)

    def block(relevance: Tensor, answer: Tensor, scorable: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        highest = kept(relevance.to(dtype), answer[:, None]).amax(2) if relevance.numel() else torch.zeros_like(scores)
        apart, _, mean = from_mean(relevance, answer)
        live = scorable & (highest >= absence) & (highest > mean)
        if cap is not None:
            apart = torch.minimum(apart, (mean * (cap - 1)).to(dtype)[..., None], out=apart)
        token = weighted_sum(apart, torch.where(live, scores / mean, 0.0), answer)
        return token.addcmul_(answer, scores.sum(1, keepdim=True).neg().to(token)), live  # bits are -1

    answer = bits(experience.answer_mask)
    token, live = by_rows(block, experience.relevance, answer, experience.scorable, scores)
    return token, live
