"""DAPO's overlong filtering (arXiv 2503.14476)."""

from rtt_lightning.algorithms.wrapper import Wrapper, credit_of
from rtt_lightning.types import Credited, Experience


class WithoutTruncated(Wrapper):
    """Responses that were cut off at the token limit take part in nothing and are not trained on.

    No baseline has them, and their tokens are neither in the loss nor in the number that it is divided by. Unlike
    `rollout.mask_truncated`, which makes their verdicts unscorable and leaves them in the loss.

    Args:
        algorithm: The scheme that gives the others their credit.
    """

    def __call__(self, experience: Experience) -> Credited:
        return credit_of(self.algorithm, experience, ~experience.truncated)
