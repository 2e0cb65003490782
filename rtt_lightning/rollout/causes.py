"""Why a window teaches nothing: what its groups have in common, and the cause that follows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rtt_lightning.functional.accuracy import DESIRED, SCORABLE, accuracy_counts, verdict_tensors
from rtt_lightning.functional.advantages import differ
from rtt_lightning.runtime.terminal import counted
from rtt_lightning.types import JudgedRollout
from rtt_lightning.types.errors import UserError

ALONE, VARIED = "fewer than two known rewards", "different rewards"
ALL_MET, NONE_MET, MIXED = "all criteria met", "none met", "equal rewards and some criteria met"
"""What the responses of a group have in common. A criterion with a negative weight counts as met if it is not."""
DECIDE = "look at what should decide them, as the reason says; see docs/judging.md and `rtt doctor`"
HARDER = "take harder prompts or more criteria"
EASIER = (
    "take easier prompts, more responses per prompt (rollout.sampling.n), or a response_reward that counts each met "
    "criterion (satisfaction_rate)"
)
DIFFERENT = f"let responses differ more (rollout.sampling.temperature), or {EASIER}"
COMPARE = "raise rollout.sampling.n"
LEFT_OUT = "look at why the scheme has no reward for them: truncated responses want a greater max_new_tokens"
SCHEME = "look at the advantages of the reward scheme, and at the relevance if it takes its credit from there"


@dataclass(frozen=True)
class Cause:
    """Why a window teaches nothing, and how to fix it. ``is_fault``: neither chance nor a small window explains it."""

    said: str
    fix: str
    is_fault: bool = False

    def __str__(self) -> str:
        return f"{self.said}. To fix it, {self.fix}"


SKIPPED = Cause(
    "each of its updates was skipped as not finite", "lower the learning rate, or leave those prompts out", True
)
DEAD_CELLS = Cause(
    "no cell of a response and a criterion is live, since relevance does not vary within any response",
    "look at rollout.relevance and std_floor, unless uniform relevance is meant",
)


@dataclass(frozen=True)
class Evidence:
    """Counts that describe the responses of a window.

    Attributes:
        responses: Their number.
        known: Responses with a known reward.
        groups: Numbers of prompts, by what their responses have in common.
        alike: Prompts whose responses, two or more, are all the same text.
        undecided: Criteria without a verdict, by reason.
        unmet: Criteria that are not as desired, by reason.
        decided: Criteria with a verdict.
    """

    responses: int = 0
    known: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    alike: int = 0
    undecided: Counter[str] = field(default_factory=Counter)
    unmet: Counter[str] = field(default_factory=Counter)
    decided: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        """Of two processes together; no group is on both."""
        return Evidence(
            *(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True))
        )


def gather_evidence(judged: Sequence[JudgedRollout], rewards: Tensor | None, known: Tensor | None) -> Evidence:
    """Of this process.

    Args:
        judged: Its responses of a window, if any.
        rewards: ``[batch]``, their response rewards; ``None`` for a scheme without: the satisfaction rate then says
            whether responses differ.
        known: ``[batch]`` bool; ``None`` without rewards.
    """
    if rewards is None or known is None:
        counts = accuracy_counts(*verdict_tensors(judged))
        rewards, known = counts[:, DESIRED] / counts[:, SCORABLE], counts[:, SCORABLE] > 0
    groups: dict[int, list[int]] = {}
    for row, item in enumerate(judged):
        groups.setdefault(item.rollout.group_id, []).append(row)
    texts = [{judged[row].rollout.text for row in rows} for rows in groups.values() if len(rows) > 1]
    verdicts = [
        (verdict.as_desired(criterion), verdict.reason) for item in judged for criterion, verdict in item.decisions
    ]
    return Evidence(
        responses=len(judged),
        known=int(known[: len(judged)].sum()),
        groups=Counter(
            _in_common([judged[row] for row in rows], rewards[rows][known[rows]].tolist()) for rows in groups.values()
        ),
        alike=sum(len(different) == 1 for different in texts),
        undecided=Counter(reason for desired, reason in verdicts if desired is None),
        unmet=Counter(reason for desired, reason in verdicts if desired is False),
        decided=sum(desired is not None for desired, _ in verdicts),
    )


def _in_common(judged: Sequence[JudgedRollout], known_rewards: Sequence[float]) -> str:
    if len(known_rewards) < 2:
        return ALONE
    rewards = torch.tensor(known_rewards)
    if differ(rewards.min(), rewards.max()):
        return VARIED
    decided = {desired for item in judged for desired in item.as_desired} - {None}
    return ALL_MET if decided == {True} else NONE_MET if decided == {False} else MIXED


def cause_of(e: Evidence, cells_are_dead: bool) -> Cause:
    """Why every advantage is 0.

    Args:
        e: Evidence of all processes.
        cells_are_dead: The scheme also takes credit from cells, and none is live.
    """
    cause = _cause_in_responses(e)
    if not cells_are_dead or not e.decided:
        return cause
    return Cause(f"{cause.said}; and {DEAD_CELLS.said}", f"{cause.fix}; and {DEAD_CELLS.fix}")


def _cause_in_responses(e: Evidence) -> Cause:
    compared = e.groups.total() - e.groups[ALONE]
    criteria = e.undecided.total() + e.decided
    open_ones = f"{e.undecided.total()} of {criteria} criteria could not be decided{_mostly(e.undecided)}"
    if not e.decided:
        return Cause(open_ones, DECIDE, is_fault=True)
    if not compared and e.undecided:
        return Cause(f"no prompt has two responses with a known reward: {open_ones}", DECIDE, is_fault=True)
    if not compared and e.known < e.responses:
        left_out = f"{e.responses - e.known} of {e.responses} responses have none"
        return Cause(f"no prompt has two responses with a known reward: {left_out}", LEFT_OUT)
    if not compared:
        return Cause("each prompt has one response, and no other to compare it with", COMPARE)
    if e.groups[VARIED]:
        some = f"in {e.groups[VARIED]} of {counted(e.groups.total(), 'group')}"
        return Cause(f"rewards differ {some}, but the reward scheme makes every advantage 0", SCHEME)
    alike = "; the responses to a prompt are all the same text" if e.alike == e.groups.total() else ""
    left = f"; {open_ones}" if e.undecided else ""
    if e.groups[ALL_MET] == compared:
        said = f"{ALL_MET}: no response of {e.responses} is better than another"
        return Cause(f"{said}{alike}{left}", HARDER)
    if e.groups[NONE_MET] == compared:
        return Cause(f"{NONE_MET}, by any response of {e.responses}{_mostly(e.unmet)}{alike}{left}", EASIER)
    kinds = ", ".join(f"{counted(n, 'group')} with {kind}" for kind, n in e.groups.most_common())
    return Cause(f"rewards are equal within every group ({kinds}){alike}{left}", DIFFERENT)


def _mostly(reasons: Counter[str]) -> str:
    [(reason, times)] = reasons.most_common(1) or [("", 0)]
    return f", most often ({times} times): {reason}" if times else ""


def refuse_small_groups(smallest: int, n: int) -> None:
    """Raise for a run whose groups of responses are too small to compare.

    Args:
        smallest: Responses that the reward scheme needs, `PolicyModule.smallest_group`.
        n: Responses per prompt.

    Raises:
        UserError: If there are fewer.
    """
    if n < smallest:
        raise UserError(
            f"rollout.sampling.n is {n}, but the reward scheme compares at least {smallest} responses to a prompt: "
            f"every advantage would be 0. Raise it; a scheme of your own without a group baseline sets smallest_group"
        )
