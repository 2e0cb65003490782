"""Why a window teaches nothing, told from its responses alone."""

from collections.abc import Sequence

import pytest
import torch

from rtt_lightning.functional.rewards import ResponseReward, all_or_nothing, satisfaction_rate
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.rollout.causes import (
    COMPARE,
    DEAD_CELLS,
    DECIDE,
    DIFFERENT,
    EASIER,
    HARDER,
    LEFT_OUT,
    SCHEME,
    Evidence,
    cause_of,
    gather_evidence,
    refuse_small_groups,
)
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

YES, NO = Verdict(True, "found"), Verdict(False, "empty answer")
EMPTY, TOOL = Verdict.unscorable("judge: the judge's reply is empty"), Verdict.unscorable("judge: it calls a tool")


def judged(group: int, *verdicts: Verdict, text: str = "", weight: float = 1.0) -> JudgedRollout:
    criteria = tuple(Criterion("It is so.", "judge", weight=weight) for _ in verdicts)
    sample = RubricSample(f"p{group}", ({"role": "user", "content": "x"},), criteria)
    words = text or str(id(verdicts))
    rollout = Rollout(f"p{group}", group, 0, (1,), (2,), words, ((0, 1),), (0, len(words)), "stop", 0, 1.0)
    return JudgedRollout(sample, rollout, verdicts)


def found(*rows: JudgedRollout, reward: ResponseReward = satisfaction_rate) -> Evidence:
    return gather_evidence(rows, *reward(collate(rows, [Relevance(torch.ones(len(row.verdicts), 1)) for row in rows])))


def of_groups(*groups: Sequence[Sequence[Verdict]]) -> list[JudgedRollout]:
    return [judged(group, *row, text=f"{group} {n}") for group, rows in enumerate(groups) for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("groups", "reward", "said", "fix"),
    [
        (
            [[[EMPTY], [EMPTY]], [[TOOL], [EMPTY]]],
            satisfaction_rate,
            "4 of 4 criteria could not be decided, most often (3 times): judge: the judge's reply is empty",
            DECIDE,
        ),
        (
            [[[YES, EMPTY], [NO, EMPTY]]],
            all_or_nothing,
            "no prompt has two responses with a known reward: 2 of 4 criteria could not be decided, most often (2 ",
            DECIDE,
        ),
        ([[[YES]], [[NO]]], satisfaction_rate, "each prompt has one response", COMPARE),
        ([[[YES], [YES]], [[YES], [YES]]], all_or_nothing, "all criteria met: no response of 4 is better", HARDER),
        (
            [[[NO, NO], [NO, NO]]],
            satisfaction_rate,
            "none met, by any response of 2, most often (4 times): empty answer",
            EASIER,
        ),
        (
            [[[YES, NO], [NO, YES]], [[YES, YES], [YES, YES]], [[NO, YES], [YES, NO]]],
            satisfaction_rate,
            "rewards are equal within every group (2 groups with equal rewards and some criteria met, 1 group with",
            DIFFERENT,
        ),
        (
            [[[YES, NO], [NO, NO]]],
            all_or_nothing,
            "rewards are equal within every group (1 group with equal rewards and some",
            DIFFERENT,
        ),
        (
            [[[YES], [NO]], [[NO], [NO]]],
            satisfaction_rate,
            "rewards differ in 1 of 2 groups, but the reward scheme makes every advantage 0",
            SCHEME,
        ),
        (
            [[[YES, TOOL], [YES, YES]]],
            satisfaction_rate,
            "all criteria met: no response of 2 is better than another; 1 of 4 criteria could not be decided",
            HARDER,
        ),
    ],
)
def test_the_cause_is_told_with_its_mend(
    groups: list[list[list[Verdict]]], reward: ResponseReward, said: str, fix: str
) -> None:
    cause = cause_of(found(*of_groups(*groups), reward=reward), False)
    assert cause.said.startswith(said)
    assert cause.fix == fix


def test_an_unwanted_criterion_counts_as_met_where_it_is_not() -> None:
    rows = [judged(0, verdict, verdict, weight=-1.0) for verdict in (NO, NO)]
    assert cause_of(found(*rows), False).said.startswith("all criteria met")


def test_responses_that_a_scheme_gives_no_reward_are_told() -> None:
    left_out = gather_evidence(of_groups([[YES], [NO]]), torch.tensor([1.0, 0.0]), torch.tensor([True, False]))
    cause = cause_of(left_out, False)
    assert cause.said == "no prompt has two responses with a known reward: 1 of 2 responses have none"
    assert cause.fix == LEFT_OUT


def test_equal_texts_are_told() -> None:
    alike = [judged(0, NO, text="same"), judged(0, NO, text="same")]
    assert "the responses to a prompt are all the same text" in cause_of(found(*alike), False).said
    assert "same text" not in cause_of(found(*alike, *of_groups([[NO], [NO]])), False).said


def test_evidence_of_processes_adds_up() -> None:
    """A group is on one of them; equal ids on two are two groups."""
    first, second = of_groups([[YES], [YES]]), of_groups([[NO], [EMPTY], [NO]])
    nothing = gather_evidence([], torch.zeros(1), torch.zeros(1, dtype=torch.bool))
    together = sum([found(*first), nothing, found(*second)], Evidence())
    assert together.responses == 5
    assert dict(together.groups) == {"all criteria met": 1, "none met": 1}
    assert cause_of(together, False).said.startswith(
        "rewards are equal within every group (1 group with all criteria met, 1"
    )
    assert nothing == Evidence()


def test_a_group_of_one_is_refused_where_groups_are_compared() -> None:
    refuse_small_groups(1, 1)
    refuse_small_groups(2, 2)
    with pytest.raises(ValueError, match=r"rollout\.sampling\.n is 1, but .* at least 2 .* sets smallest_group"):
        refuse_small_groups(2, 1)


def test_dead_cells_are_told_beside_what_the_responses_tell() -> None:
    cause = cause_of(found(*of_groups([[YES], [YES]])), True)
    assert cause.said == f"all criteria met: no response of 2 is better than another; and {DEAD_CELLS.said}"
    assert cause.fix == f"{HARDER}; and {DEAD_CELLS.fix}"
    nothing = found(*of_groups([[EMPTY], [EMPTY]]))  # which is why no cell is live
    assert cause_of(nothing, True) == cause_of(nothing, False)
