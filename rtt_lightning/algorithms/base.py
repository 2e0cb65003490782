"""The base of algorithms, which turn the experience of a window into credit, without model, trainer or device."""

from abc import ABC, abstractmethod

from rtt_lightning.types import Credited, Experience


class Algorithm(ABC):
    """A reward scheme, given to `PolicyModule` as ``algorithm``.

    Attributes:
        smallest_group: Fewest responses per prompt that it learns from; 1 if it does not compare responses.
        token_credit: Whether it reads the relevance of tokens.
        weighs_tokens: Whether it weighs tokens by something else, such as a contrast.
    """

    smallest_group: int = 2
    token_credit: bool = False
    weighs_tokens: bool = False

    @abstractmethod
    def __call__(self, experience: Experience) -> Credited:
        """Advantages of a window, 0 outside the response, with the rewards that they were made from.

        Args:
            experience: The judged rollouts of this process, whole groups; none for a process without data.
        """
