"""The end token as one more token of its answer."""

from dataclasses import replace

import torch
from torch import Tensor

from rtt_lightning.algorithms.wrapper import Wrapper
from rtt_lightning.functional.cells import bits, by_rows, kept, working
from rtt_lightning.types import Credited, Experience


class EndToken(Wrapper):
    """The end token of a response takes part in token credit, as one more token of its answer.

    Its relevance to each criterion is the least that its answer has. Ours. Else the end token has the response level
    alone, and a response that is credited at its words is not credited for ending. With the least relevance it never
    gains from a criterion more than the words do. Responses that were cut off, or have no answer, stay as they are.

    Args:
        algorithm: The scheme that gives the credit; one that reads relevance.
    """

    def __call__(self, experience: Experience) -> Credited:
        answer, mask = experience.answer_mask, experience.response_mask
        last = mask.sum(1, keepdim=True).sub(1).clamp(min=0)
        ended = ~experience.truncated & answer.any(1) & ~answer.take_along_dim(last, 1)[:, 0]
        index = last[:, None].expand(-1, experience.relevance.shape[1], -1)
        own = experience.relevance.take_along_dim(index, 2)
        [least] = by_rows(least_relevance, experience.relevance, bits(answer))
        relevance = experience.relevance.scatter(2, index, torch.where(ended[:, None, None], least, own))
        answer = answer.scatter(1, last, answer.take_along_dim(last, 1) | ended[:, None])
        return self.algorithm(replace(experience, relevance=relevance, answer_mask=answer))


def least_relevance(relevance: Tensor, answer: Tensor) -> tuple[Tensor]:
    """Of each cell over its answer, of `bits`: ``[batch rubric 1]``, 1 without any."""
    inside = kept(relevance.to(working(relevance)), answer[:, None])
    return (inside.add_((answer + 1)[:, None]).amin(2, keepdim=True).to(relevance),)  # 1 outside, where bits are 0
