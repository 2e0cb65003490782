"""The base of algorithms that hold another one and change what it sees, or what is trained on."""

from dataclasses import replace

from torch import Tensor

from rtt_lightning.algorithms.base import Algorithm
from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.axes import Bool


class Wrapper(Algorithm):
    """An algorithm around another one, which needs and reads what that one does.

    Args:
        algorithm: The scheme that gives the credit.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.smallest_group = algorithm.smallest_group
        self.token_credit, self.weighs_tokens = algorithm.token_credit, algorithm.weighs_tokens


def credit_of(algorithm: Algorithm, experience: Experience, kept: Bool[Tensor, " batch"]) -> Credited:
    """The credit of a window as if it held the responses that are ``kept`` alone; the others are not trained on.

    Their advantages are 0 and their rewards unknown. Metrics are those of the responses kept; none without any.
    """

    def spread(values: Tensor) -> Tensor:
        whole = values.new_zeros(len(kept), *values.shape[1:])
        whole[kept] = values
        return whole

    found = algorithm(experience.rows(kept))
    return replace(
        found,
        advantages=spread(found.advantages),
        rewards=None if found.rewards is None else spread(found.rewards),
        known=None if found.known is None else spread(found.known),
        metrics=found.metrics if kept.any() else {},
        trained=kept if found.trained is None else spread(found.trained),
    )
