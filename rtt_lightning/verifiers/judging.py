"""Judges responses, each as soon as it ends, while others are sampled."""

from collections.abc import Iterable, Sequence

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import JudgedRollout, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier


def judge(
    verifier: Verifier, rollouts: Iterable[tuple[RubricSample, Rollout]], *, loose: bool, mask_truncated: bool
) -> list[JudgedRollout]:
    """Give each response its verdicts.

    Args:
        verifier: Gives verdicts, in an event loop of another thread.
        rollouts: Prompts and responses, in the order in which they end.
        loose: Also give loose verdicts.
        mask_truncated: Make every verdict on a truncated response unscorable instead of judging it as it is.

    Returns:
        One row per response, by group and sample index.
    """

    async def verdicts(sample: RubricSample, row: Rollout) -> JudgedRollout:
        strict = await verifier.verify(sample, row.answer)
        forgiving = await verifier.verify_loosely(sample, row.answer, strict) if loose else None
        mask = mask_truncated and row.finish_reason == "length"
        return JudgedRollout(
            sample, row, _masked(strict, mask), None if forgiving is None else _masked(forgiving, mask)
        )

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(verifier.session()):
        pending = [portal.start_task_soon(verdicts, sample, row) for sample, row in rollouts]
        judged = [future.result() for future in pending]
    return sorted(judged, key=lambda item: (item.rollout.group_id, item.rollout.sample_index))


def judge_again(verifier: Verifier, judged: Sequence[JudgedRollout]) -> list[JudgedRollout]:
    """The same responses in order with another verifier's verdicts, without what was made from the old ones."""
    found = verifier.verify_all([(item.sample, item.rollout.answer) for item in judged])
    return [JudgedRollout(old.sample, old.rollout, tuple(new)) for old, new in zip(judged, found, strict=True)]


def _masked(found: Sequence[Verdict], mask: bool) -> tuple[Verdict, ...]:
    masked = Verdict.unscorable("response truncated at the token limit")
    return tuple(masked if mask else verdict for verdict in found)
