"""Checks of what a reward scheme is given and what it returns."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor

from rtt_lightning.types import Credited, Experience
from rtt_lightning.types.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
Returned = Credited | tuple[Tensor, Mapping[str, Tensor]]
"""What a scheme may return; the pair (advantages, metrics) is for schemes without rewards to show."""


def checked_credit(returned: Any, experience: Experience, scheme: str) -> Credited:
    """The credit of a window, in the shape that training takes.

    Numbers that are not finite pass: the window finds them and names their prompts.

    Args:
        returned: By an algorithm or `PolicyModule.advantages`; should be `Returned`.
        experience: Of the window.
        scheme: The class that returned it, for the message.

    Raises:
        UserError: For anything else, another shape, or credit outside the response.
    """
    match returned:
        case Credited():
            advantages, metrics = returned.advantages, returned.metrics
            rewards, known, trained = returned.rewards, returned.known, returned.trained
        case (Tensor() as advantages, Mapping() as metrics):
            rewards = known = trained = None
        case _:
            raise UserError(
                f"{scheme} returned {type(returned).__name__}, expected Credited(advantages, rewards, known, metrics) "
                "or the pair (advantages, metrics)"
            )
    mask = experience.response_mask
    parts = {"advantages [batch token]": (advantages, mask)}
    if rewards is not None and known is not None:
        parts |= {"rewards [batch]": (rewards, mask[:, 0]), "known [batch]": (known, mask[:, 0])}
    elif rewards is not None or known is not None:
        raise UserError(f"{scheme} returned rewards or known alone; return both, or None for both")
    if trained is not None:
        parts |= {"trained [batch]": (trained, mask[:, 0])}
        if trained.dtype != torch.bool:
            raise UserError(f"{scheme} returned trained as {trained.dtype}, expected torch.bool")
    for name, (found, expected) in parts.items():
        if found.shape != expected.shape:
            raise UserError(f"{scheme} returned {name} of shape {list(found.shape)}, expected {list(expected.shape)}")
    outside = (advantages != 0) & advantages.isfinite() & ~mask
    if outside.any():
        row, token = outside.nonzero()[0].tolist()
        raise UserError(
            f"{scheme} returned an advantage of {float(advantages[row, token]):g} outside the response, in "
            f"row {row} at token {token}; multiply advantages by experience.response_mask"
        )
    return Credited(advantages, rewards, known, metrics, trained)


def refuse_without_logprobs(experience: Experience) -> None:
    """Raise if the sampler gave no log-probs for a response: its importance weights are unknown, not 1.

    Raises:
        UserError: If one has none.
    """
    without = (experience.sampler_logprobs.isnan() & experience.response_mask).any(1)
    if without.any():
        raise UserError(
            f"model.init_args.importance_cap is set, and the engine gave no log-probs for {int(without.sum())} of "
            f"{len(without)} responses, so their importance weights are unknown: set it to null, or use another engine"
        )


def taking(function: F, *given: str) -> F:
    """The function, which a user may have written, if it accepts the arguments ``given``.

    Raises:
        UserError: If it takes other arguments, as in version 0.1.
    """
    try:
        signature(function).bind(*given)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise UserError(
            f"{name}{signature(function)} cannot be called with ({', '.join(given)}), as since version 0.2: {error}; "
            "rtt_lightning.functional.rewards and .advantages have examples"
        ) from error
    return function
