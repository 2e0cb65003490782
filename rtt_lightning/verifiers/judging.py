"""Responses to judged responses: each is judged from the moment it ends, beside the sampling of the others."""

from collections.abc import Iterable, Sequence

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier


def judge(
    verifier: Verifier, rollouts: Iterable[tuple[RubricSample, Rollout]], *, loose: bool, mask_truncated: bool
) -> list[JudgedRollout]:
    """Give each response its verdicts.

    Args:
        verifier: Gives them, in an event loop of another thread.
        rollouts: Prompts and responses, in the order in which they end.
        loose: Also judge loosely.
        mask_truncated: Make every verdict on a truncated response unscorable instead of judging it as it stands.

    Returns:
        One row per response, by group and sample index.
    """
    with start_blocking_portal() as portal:
        pending = [
            (
                sample,
                row,
                portal.start_task_soon(verifier.verify, sample, row.answer),
                portal.start_task_soon(verifier.verify_loosely, sample, row.answer) if loose else None,
            )
            for sample, row in rollouts
        ]
        judged = []
        for sample, row, strict, forgiving in pending:
            mask = mask_truncated and row.finish_reason == "length"
            loosely = None if forgiving is None else _verdicts(forgiving.result(), mask)
            judged.append(JudgedRollout(sample, row, _verdicts(strict.result(), mask), loosely))
    return sorted(judged, key=lambda item: (item.rollout.group_id, item.rollout.sample_index))


def _verdicts(found: Sequence[Verdict], mask: bool) -> tuple[Verdict, ...]:
    masked = Verdict.unscorable("response truncated at the token limit")
    return tuple(masked if mask else verdict for verdict in found)
