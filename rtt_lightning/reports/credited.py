"""What credit falls on, in words."""

import re
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from rtt_lightning.reports.hacking import REPEATED
from rtt_lightning.types import JudgedRollout, Rollout


def credited_repetition(judged: Sequence[JudgedRollout], advantages: Tensor) -> tuple[float, float]:
    """How much of what pushes words up falls on repetition: the credit of runs of three words that occur earlier in
    their response, and that of all runs; both add up over responses.

    The credit of a token is its advantage where that is positive, that of a run the sum over the tokens of its words.

    Args:
        judged: Responses.
        advantages: ``[batch token]`` of the same.
    """
    gains = advantages.clamp(min=0).cpu().double().numpy()
    repeated = total = 0.0
    for item, gain in zip(judged, gains, strict=True):
        words, credit = _words(item.rollout, gain[: len(item.rollout.offsets)])
        runs = [*zip(*(words[start:] for start in range(REPEATED)), strict=False)]
        of_runs = np.sum([credit[start : start + len(runs)] for start in range(REPEATED)], axis=0)
        first = dict[tuple[str, ...], int]()
        again = np.array([first.setdefault(run, place) < place for place, run in enumerate(runs)], dtype=bool)
        repeated, total = repeated + of_runs[again].sum(), total + of_runs.sum()
    return float(repeated), float(total)


def _words(rollout: Rollout, gain: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The words of an answer, in lowercase, and the sum of ``gain`` ``[token]`` over the tokens of each."""
    found = [*re.finditer(r"\w+", rollout.answer)]
    starts, ends = np.array(rollout.offsets, dtype=int).reshape(-1, 2).T
    visible = starts < ends  # end and special tokens carry no characters
    sums = np.concatenate([[0.0], gain[visible].cumsum()])
    edges = np.array([word.span() for word in found], dtype=int).reshape(-1, 2) + rollout.answer_span[0]
    since = np.searchsorted(ends[visible], edges[:, 0], side="right")
    until = np.searchsorted(starts[visible], edges[:, 1], side="left")
    return [word.group().lower() for word in found], sums[until] - sums[since]
