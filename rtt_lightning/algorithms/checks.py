"""What comes back from a reward scheme, looked at once."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rtt_lightning.types import Credited, Experience

Returned = Credited | tuple[Tensor, Mapping[str, Tensor]]
"""What a scheme may return; the pair, of advantages and metrics, is for one that has no rewards to show."""


def checked(returned: Any, experience: Experience, scheme: str) -> Credited:
    """The credit of a window, in the shape that training takes.

    What is not finite in it is left to the window, which names its prompts.

    Args:
        returned: By an algorithm, or by `PolicyModule.advantages`: `Returned`, if it is right.
        experience: Of the window.
        scheme: The class that returned it, for the message.

    Raises:
        ValueError: For anything else, another shape, or credit outside the response.
    """
    match returned:
        case Credited():
            advantages, metrics = returned.advantages, returned.metrics
            rewards, known = returned.rewards, returned.known
        case (Tensor() as advantages, Mapping() as metrics):
            rewards = known = None
        case _:
            raise ValueError(
                f"{scheme} returned {type(returned).__name__}, expected Credited(advantages, rewards, known, metrics) "
                "or the pair (advantages, metrics)"
            )
    mask = experience.response_mask
    parts = {"advantages [batch token]": (advantages, mask)}
    if rewards is not None and known is not None:
        parts |= {"rewards [batch]": (rewards, mask[:, 0]), "known [batch]": (known, mask[:, 0])}
    elif rewards is not None or known is not None:
        raise ValueError(f"{scheme} returned rewards or known alone; return both, or None for both")
    for name, (found, expected) in parts.items():
        if found.shape != expected.shape:
            raise ValueError(f"{scheme} returned {name} of shape {list(found.shape)}, expected {list(expected.shape)}")
    outside = (advantages != 0) & advantages.isfinite() & ~mask
    if outside.any():
        row, token = outside.nonzero()[0].tolist()
        raise ValueError(
            f"{scheme} returned an advantage of {float(advantages[row, token]):g} outside the response, in "
            f"row {row} at token {token}; multiply advantages by experience.response_mask"
        )
    return Credited(advantages, rewards, known, metrics)
