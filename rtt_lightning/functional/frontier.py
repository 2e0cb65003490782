"""What a KL can buy: the largest gain of mean reward at a distance from the reference."""

import numpy as np

STRENGTHS = np.concatenate([[0.0], np.geomspace(1e-2, 1e3, 300)])
"""Values of lambda: from the reference itself to the best responses of each prompt alone, for rewards in [0, 1]."""


def frontier(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The KL of policies on the exact frontier, in nats per response, and their gain of mean reward.

    Of all policies at a distance from the reference, q proportional to ref exp(lambda r) has the highest mean reward,
    with one lambda for all prompts. On n samples of the reference it is a weighting, w = softmax(lambda r) within a
    prompt: its KL is sum w log(n w), its gain sum w r - mean r, both averaged over prompts.

    For a small KL the gain is sqrt(2 KL V), V the variance of rewards within prompts; it is at most min(sqrt(KL / 2), 1
    - mean) for rewards in [0, 1]. n samples cannot tell of a KL above log n, and the last of these values rest on the
    few best samples of each prompt.

    Args:
        rewards: ``[prompt sample]``, of the reference's responses.

    Returns:
        ``[step]`` each, rising from 0.
    """
    centred = rewards - rewards.mean(1, keepdims=True)
    logits = STRENGTHS[:, None, None] * (centred - centred.max(1, keepdims=True))
    weights = np.exp(logits)
    weights /= weights.sum(2, keepdims=True)
    relative = weights * rewards.shape[1]
    kl = (weights * np.log(np.where(relative > 0, relative, 1.0))).sum(2).mean(1)
    return kl, (weights * centred).sum(2).mean(1)


def gain_at(kl: float, reached: tuple[np.ndarray, np.ndarray]) -> float:
    """The gain of a `frontier` at a KL; NaN beyond what its samples can tell."""
    distances, gains = reached
    return float(np.interp(kl, distances, gains, right=np.nan))
