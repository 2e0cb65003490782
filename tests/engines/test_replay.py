"""Recorded rollouts come back as they were."""

import pytest

from rtt_lightning.engines import ReplayEngine, SampleRequest, Sampling
from rtt_lightning.types import Rollout


def recorded(prompt: str, *ids: int, logprobs: tuple[float, ...] | None = None) -> Rollout:
    return Rollout(
        prompt_id=prompt,
        group_id=90,
        sample_index=80,
        prompt_ids=(1, 2),
        response_ids=ids,
        text="x" * len(ids),
        offsets=tuple((i, i + 1) for i in range(len(ids))),
        answer_span=(0, len(ids)),
        finish_reason="length",
        policy_version=5,
        temperature=0.9,
        logprobs=logprobs,
    )


def request(prompt: str, group: int, n: int) -> SampleRequest:
    return SampleRequest(prompt, group, prompt_ids=(1, 2), seeds=tuple(range(n)))


def test_rows_are_replayed_as_recorded_but_for_group_and_index() -> None:
    engine = ReplayEngine([recorded("a", 7, 8, logprobs=(-0.25, -0.5))])
    (row,) = engine.generate([request("a", group=3, n=1)], Sampling(temperature=0.1), policy_version=11)
    assert (row.response_ids, row.logprobs) == ((7, 8), (-0.25, -0.5))
    assert (row.policy_version, row.temperature, row.finish_reason) == (5, 0.9, "length")  # the recording's
    assert (row.group_id, row.sample_index) == (3, 0)  # the request's


def test_responses_of_a_prompt_are_served_in_turn_and_start_over() -> None:
    engine = ReplayEngine([recorded("a", 1), recorded("b", 10), recorded("a", 2), recorded("a", 3)])
    rows = list(engine.generate([request("a", 0, 2), request("b", 1, 2)], Sampling(), 0))
    assert [row.response_ids for row in rows] == [(1,), (2,), (10,), (10,)]
    assert [(row.group_id, row.sample_index) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    # "a" goes on with its third response, then starts over
    rows = list(engine.generate([request("a", 4, 3)], Sampling(), 0))
    assert [row.response_ids for row in rows] == [(3,), (1,), (2,)]
    assert [row.group_id for row in rows] == [4, 4, 4]


def test_one_prompt_asked_for_in_two_groups_goes_on_in_the_second() -> None:
    engine = ReplayEngine([recorded("a", 1), recorded("a", 2)])
    rows = list(engine.generate([request("a", 0, 1), request("a", 1, 1)], Sampling(), 0))
    assert [(row.group_id, row.response_ids) for row in rows] == [(0, (1,)), (1, (2,))]


def test_a_prompt_that_was_not_recorded_is_named() -> None:
    engine = ReplayEngine([recorded("a", 1)])
    with pytest.raises(ValueError, match="no recorded response for prompt 'b'; the recording holds 1 prompts"):
        list(engine.generate([request("b", 0, 1)], Sampling(), 0))
    with pytest.raises(ValueError, match="'b'"):  # asking did not make it known
        list(engine.generate([request("b", 0, 1)], Sampling(), 0))
