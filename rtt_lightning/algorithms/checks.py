"""What comes back from a reward scheme, looked at once."""

from collections.abc import Mapping

from torch import Tensor

from rtt_lightning.types import Credited, Experience

Returned = Credited | tuple[Tensor, Mapping[str, Tensor]]
"""What a scheme may return; the pair, of advantages and metrics, is for one that has no rewards to show."""


def checked(returned: Returned, experience: Experience, scheme: str) -> Credited:
    """The credit of a window, in the shape that training takes.

    What is not finite in it is left to the window, which names its prompts.

    Args:
        returned: By an algorithm, or by `PolicyModule.advantages`.
        experience: Of the window.
        scheme: The class that returned it, for the message.

    Raises:
        ValueError: For anything else, another shape, or credit outside the response.
    """
    match returned:
        case Credited():
            credited = returned
        case (Tensor() as advantages, Mapping() as metrics):
            credited = Credited(advantages, None, None, metrics)
        case _:
            raise ValueError(
                f"{scheme} returned {type(returned).__name__}, expected Credited(advantages, rewards, known, metrics) "
                "or the pair (advantages, metrics)"
            )
    mask = experience.response_mask
    parts = {"advantages [batch token]": (credited.advantages, mask)}
    if credited.rewards is not None and credited.known is not None:
        parts |= {"rewards [batch]": (credited.rewards, mask[:, 0]), "known [batch]": (credited.known, mask[:, 0])}
    elif credited.rewards is not None or credited.known is not None:
        raise ValueError(f"{scheme} returned rewards or known alone; return both, or None for both")
    for name, (found, expected) in parts.items():
        if found.shape != expected.shape:
            raise ValueError(f"{scheme} returned {name} of shape {list(found.shape)}, expected {list(expected.shape)}")
    outside = (credited.advantages != 0) & credited.advantages.isfinite() & ~mask
    if outside.any():
        row, token = outside.nonzero()[0].tolist()
        raise ValueError(
            f"{scheme} returned an advantage of {float(credited.advantages[row, token]):g} outside the response, in "
            f"row {row} at token {token}; multiply advantages by experience.response_mask"
        )
    return credited
