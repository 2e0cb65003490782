"""Judged rollouts to tensors."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from rtt_lightning.algorithms import RTT
from rtt_lightning.functional.advantages import inter_sample, intra_sample, no_partition
from rtt_lightning.functional.rewards import hard_times_soft, satisfaction_rate
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.rollout.experience import collate, verdict_batch
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict


def judged(group: int, length: int, *mets: bool | None, finish: str = "stop") -> JudgedRollout:
    """A response of ``length`` one-letter tokens and an end token."""
    criteria = tuple(Criterion(f"c{k}", "rtt:question", weight=1.0 if k % 2 == 0 else -1.0) for k in range(len(mets)))
    return JudgedRollout(
        RubricSample(f"p{group}", ({"role": "user", "content": "x"},), criteria),
        Rollout(
            prompt_id=f"p{group}",
            group_id=group,
            sample_index=0,
            prompt_ids=tuple(range(3 + group)),
            response_ids=(*range(10, 10 + length), 2),
            text="a" * length,
            offsets=(*((i, i + 1) for i in range(length)), (length, length)),
            answer_span=(0, length),
            finish_reason="stop" if finish == "stop" else "length",
            policy_version=0,
            temperature=1.0,
            logprobs=None,
        ),
        tuple(Verdict(met, "", ()) for met in mets),
    )


def test_ragged_rows_are_padded_and_masked() -> None:
    rows = [judged(0, 2, True, None, False), judged(1, 0, True)]
    experience = collate(rows, [Relevance(torch.full((3, 3), 0.5)), Relevance(torch.full((1, 1), 0.25))])
    assert experience.weights.tolist() == [[1, -1, 1], [1, 0, 0]]
    assert experience.met.tolist() == [[True, False, False], [True, False, False]]
    assert experience.scorable.tolist() == [[True, False, True], [True, False, False]]
    assert experience.signs.tolist() == [[1, 0, -1], [1, 0, 0]]
    assert experience.response_mask.tolist() == [[True, True, True], [True, False, False]]
    assert experience.answer_mask.tolist() == [[True, True, False], [False, False, False]]  # never the end token
    assert experience.prompt_lengths.tolist() == [3, 4]
    assert experience.relevance[1].tolist() == [[0.25, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert experience.sampler_logprobs[0].isnan().all()
    assert experience.value.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert experience.confidence.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert experience.hard.tolist() == [[True, True, True], [True, False, False]]
    assert experience.contrast is None


def test_what_was_not_read_is_outside_the_token_group() -> None:
    """It changes neither mean nor standard deviation, and has no token-level advantage under any partition."""
    rows, read = [judged(0, 4, True), judged(0, 4, False)], torch.tensor([True, True, False, False, True])
    p = torch.tensor([[1.0, 0.0, 0.9, 0.3, 0.7]])
    experience = collate(rows, [Relevance(p, read), Relevance(p)])
    assert experience.answer_mask.tolist() == [[True, True, False, False, False], [True, True, True, True, False]]
    advantages, _ = intra_sample(experience)
    torch.testing.assert_close(advantages[0], torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    advantages, _ = inter_sample(experience)
    pooled = torch.tensor([1.0, 0.0, -1.0, 0.0, -0.9, -0.3])  # two tokens of the first, four of the second
    scores = (pooled - pooled.mean()) / pooled.std(correction=0)
    expected = torch.tensor([[*scores[:2], 0, 0, 0], [*scores[2:], 0]])
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)
    assert no_partition(experience)[0][0].tolist() == [1, 0, 0, 0, 0]


def test_more_than_twenty_criteria_are_all_kept() -> None:
    experience = collate([judged(0, 1, *[True] * 25)], [Relevance(torch.zeros(25, 2))])
    assert experience.exists.sum() == 25


def with_(row: JudgedRollout, criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> JudgedRollout:
    """The same response, judged by another rubric."""
    return replace(row, sample=replace(row.sample, criteria=tuple(criteria)), verdicts=tuple(verdicts))


def test_the_degree_of_a_verdict_reaches_the_reward_and_an_undecided_one_has_none() -> None:
    graded = [Verdict(True, "half of it", value=0.5, confidence=0.75), Verdict(True, ""), Verdict(None, "", value=0.5)]
    row = with_(judged(0, 2, True), [Criterion("It is so.", "judge")] * 3, graded)
    experience = collate([row], [Relevance(torch.zeros(3, 3))])
    assert experience.value.tolist() == [[0.5, 1, 0.5]]
    assert experience.confidence.tolist() == [[0.75, 1, 1]]
    assert experience.desired_value.tolist() == [[0.5, 1, 0]]
    assert satisfaction_rate(experience)[0].tolist() == [0.75]  # (0.5 + 1) / 2


def test_what_the_data_says_of_a_criterion_wins_over_who_decides_it() -> None:
    criteria = [
        Criterion("By rule.", "rtt:question"),
        Criterion("By rule, of taste.", "rtt:question", hard=False),
        Criterion("By a judge.", "judge"),
        Criterion("By a judge, of fact.", "judge", hard=True),
    ]
    row = with_(judged(0, 2, True), criteria, [Verdict(met, "") for met in (True, True, False, False)])
    experience = collate([row], [Relevance(torch.zeros(4, 3))])
    assert experience.hard.tolist() == [[True, False, False, True]]
    assert hard_times_soft(experience)[0].tolist() == [0.25]  # (1 + 0) / 2 x (1 + 0) / 2


def test_contrast_stands_where_a_source_asked_for_it() -> None:
    rows, p = [judged(0, 1, True), judged(0, 2, True)], torch.zeros(1, 3)
    experience = collate(rows, [Relevance(p[:, :2]), Relevance(p, contrast=torch.tensor([-1.0, -2.0, -3.0]))])
    assert experience.contrast is not None
    torch.testing.assert_close(
        experience.contrast, torch.tensor([[torch.nan, torch.nan, 0], [-1, -2, -3]]), equal_nan=True
    )


def test_a_process_without_responses_has_an_experience_of_none() -> None:
    experience = collate([], [])
    assert experience.weights.shape == (0, 1)
    assert RTT()(experience).advantages.shape == (0, 1)


def test_an_evaluation_gets_tokens_and_verdicts_and_may_hold_nothing() -> None:
    batch = verdict_batch([judged(0, 2, True, None, False), judged(1, 0, True)])
    assert batch["met"].tolist() == [[True, False, False], [True, False, False]]
    assert batch["scorable"].tolist() == [[True, False, True], [True, False, False]]
    assert batch["weights"].tolist() == [[1, -1, 1], [1, 0, 0]]
    assert batch["response_ids"].tolist() == [[10, 11, 2], [2, 0, 0]]
    assert batch["response_mask"].tolist() == [[True, True, True], [True, False, False]]
    assert {len(values) for values in verdict_batch([]).values()} == {0}
