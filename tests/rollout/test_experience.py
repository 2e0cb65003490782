"""Judged rollouts to tensors, and windows to micro-batches."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.functional.advantages import inter_sample, intra_sample, no_partition, token_rewards
from rtt_lightning.rollout.experience import collate, split_groups
from rtt_lightning.rollout.window import Window, make_window
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
    experience = collate(rows, [torch.full((3, 3), 0.5), torch.full((1, 1), 0.25)])
    assert experience.weights.tolist() == [[1, -1, 1], [1, 0, 0]]
    assert experience.met.tolist() == [[True, False, False], [True, False, False]]
    assert experience.scorable.tolist() == [[True, False, True], [True, False, False]]
    assert experience.signs.tolist() == [[1, 0, -1], [1, 0, 0]]
    assert experience.response_mask.tolist() == [[True, True, True], [True, False, False]]
    assert experience.answer_mask.tolist() == [[True, True, False], [False, False, False]]  # never the end token
    assert experience.prompt_lengths.tolist() == [3, 4]
    assert experience.relevance[1].tolist() == [[0.25, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert experience.sampler_logprobs[0].isnan().all()


def test_what_was_not_read_is_outside_the_token_group() -> None:
    """It changes neither mean nor standard deviation, and has no token-level advantage under any partition."""
    rows, read = [judged(0, 4, True), judged(0, 4, False)], torch.tensor([True, True, False, False, True])
    relevance = [torch.tensor([[1.0, 0.0, 0.9, 0.3, 0.7]])] * 2
    experience = collate(rows, relevance, [read, torch.ones(5, dtype=torch.bool)])
    assert experience.answer_mask.tolist() == [[True, True, False, False, False], [True, True, True, True, False]]
    rewards = token_rewards(experience.relevance, experience.signs)
    groups = (experience.scorable, experience.answer_mask, experience.group_ids)
    advantages, _ = intra_sample(rewards, *groups)
    torch.testing.assert_close(advantages[0], torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    advantages, _ = inter_sample(rewards, *groups)
    pooled = torch.tensor([1.0, 0.0, -1.0, 0.0, -0.9, -0.3])  # two tokens of the first, four of the second
    scores = (pooled - pooled.mean()) / pooled.std(correction=0)
    expected = torch.tensor([[*scores[:2], 0, 0, 0], [*scores[2:], 0]])
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)
    assert no_partition(rewards, *groups)[0][0].tolist() == [1, 0, 0, 0, 0]


def test_more_than_twenty_criteria_are_all_kept() -> None:
    experience = collate([judged(0, 1, *[True] * 25)], [torch.zeros(25, 2)])
    assert experience.exists.sum() == 25


@given(groups=st.lists(st.integers(0, 5), min_size=1, max_size=20), parts=st.integers(1, 8))
def test_micro_batches_hold_whole_groups_and_every_row_once(groups: list[int], parts: int) -> None:
    ids = torch.tensor(groups)
    found = split_groups(ids, parts)
    assert len(found) == parts
    assert sorted(torch.cat(found).tolist()) == list(range(len(groups)))
    homes = [set(ids[rows].tolist()) for rows in found]
    assert sum(len(home) for home in homes) == len(set(groups))


def test_a_window_counts_the_tokens_of_each_update_and_survives_its_state_dict() -> None:
    rows = [judged(group, length, True) for group, length in ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5))]
    experience = collate(rows, [torch.zeros(1, len(row.rollout.response_ids)) for row in rows])
    advantages = torch.arange(5.0)[:, None].expand(5, 6)
    ids = [row.sample.id for row in rows]
    window = make_window(7, experience, advantages, 2, 2, total_tokens=lambda n: n, prompt_ids=ids)
    assert [int(m["update_tokens"]) for m in window.micro_batches] == [9, 9, 11, 11]  # 2+3+4 and 5+6, ends included
    assert [m["last_of_update"] for m in window.micro_batches] == [False, True, False, True]
    assert [m["advantages"][:, 0].tolist() for m in window.micro_batches] == [[0, 1], [2], [3], [4]]
    again = Window.resumed([window.state_dict()], rank=0, ranks=1)
    assert again.number == 7
    assert torch.equal(again.micro_batches[3]["response_ids"], window.micro_batches[3]["response_ids"])
