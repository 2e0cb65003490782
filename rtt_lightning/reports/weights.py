"""What is said of the weights of criteria."""

from collections.abc import Iterable

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from rtt_lightning.functional.rewards import ResponseReward
from rtt_lightning.types import RubricSample


def weights_by_kind(samples: Iterable[RubricSample]) -> dict[str, str]:
    """The weights of each kind's criteria in words, such as "-2 to 1"; an empty text where all are 1."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for criterion in sample.criteria:
            found.setdefault(criterion.checker, []).append(criterion.weight)
    return {kind: _range(min(weights), max(weights)) for kind, weights in found.items()}


def say_if_ignored(reward: ResponseReward, samples: Iterable[RubricSample]) -> None:
    """Warn where rubrics weigh their criteria against each other and a reward takes the signs of weights alone."""
    rubrics = ([criterion.weight for criterion in sample.criteria] for sample in samples)
    uneven = next((weights for weights in rubrics if max(weights) > 0 and len(set(map(abs, weights))) > 1), None)
    if uneven and takes_signs_alone(reward, torch.tensor(uneven)):
        rank_zero_warn(
            f"the data weighs its criteria, for example by {', '.join(f'{weight:g}' for weight in uneven)}, but "
            f"response_reward {getattr(reward, '__name__', reward)} takes the signs of weights alone; "
            "rtt_lightning.functional.rewards.weighted_mean takes all of them"
        )


def takes_signs_alone(reward: ResponseReward, weights: Tensor) -> bool:
    """Whether a reward would be the same with -1 and 1 for weights.

    Tried with each criterion as the only one that is met, and as the only one that is not.

    Args:
        reward: From `rtt_lightning.functional.rewards`, or one like those.
        weights: ``[rubric]`` of one rubric, one of them positive.
    """
    alone = torch.eye(len(weights), dtype=torch.bool)
    met = torch.cat([alone, ~alone])
    rows, scorable = weights.expand(met.shape), torch.ones_like(met)
    return torch.equal(reward(met, scorable, rows)[0], reward(met, scorable, rows.sign())[0])


def _range(low: float, high: float) -> str:
    if low == high:
        return "" if low == 1 else f"{low:g}"
    return f"{low:g} to {high:g}"
