"""Figures of a window that several processes share, and of one in which nothing was decided."""

import pytest
import torch
from torch import Tensor

from rtt_lightning.algorithms import GRPO
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.reports import rollout_metrics as module
from rtt_lightning.reports.rollout_metrics import rollout_metrics
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import Credited, JudgedRollout
from tests.rollout.test_experience import judged

ONE = [judged(0, 2, True, False), judged(0, 4, True, True, None)]  # the second criterion is unwanted
OTHER = [judged(1, 3, True), judged(1, 1, None), judged(1, 1, False), judged(1, 9, None, False, True)]
SHARES = (
    "rubric_accuracy",
    "instruction_accuracy_lower_bound",
    "instruction_accuracy_upper_bound",
    "instruction_accuracy_wholly_decided",
    "undecided_share",
    "unscorable",
)


def of(rows: list[JudgedRollout], *read: Tensor) -> dict[str, Tensor]:
    nothing = [torch.zeros(len(row.verdicts), len(row.rollout.response_ids)) for row in rows]
    experience = collate(rows, [*map(Relevance, nothing, read or [None] * len(rows))])
    return rollout_metrics(experience, rows, GRPO()(experience))


def test_shares_count_what_was_decided() -> None:
    found = of(ONE)
    assert found["rubric_accuracy"] == 3 / 4  # met, unmet as desired; met, met though unwanted
    assert "instruction_accuracy" not in found
    assert found["instruction_accuracy_lower_bound"] == 1 / 2
    assert found["instruction_accuracy_upper_bound"] == 1 / 2  # the second has failed, whatever its third criterion
    assert found["instruction_accuracy_wholly_decided"] == 1
    assert found["undecided_share"] == 1 / 2
    assert found["unscorable"] == pytest.approx(1 / 5)
    assert (found["length"], found["length_min"], found["length_max"]) == (4, 3, 5)  # with the end token
    assert found["reward_std"] == pytest.approx(0.5 / 2**0.5)  # of 1 and 1/2
    assert found["reward"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["reward_unknown"] == 0
    assert found["zero_variance_groups"] == 0


def test_kinds_have_figures_of_their_own_where_something_was_decided() -> None:
    rows = [judged(0, 2, True, False), judged(0, 4, None, None)]
    kinds = {name: value for name, value in of(rows).items() if name.startswith("rubric_accuracy/")}
    assert kinds == {f"rubric_accuracy/{rows[0].sample.criteria[0].checker}": 1}  # the second criterion is unwanted
    assert not [name for name in of(rows[1:]) if name.startswith("rubric_accuracy/")]


def test_shares_are_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not means of the processes' own shares: they decide different numbers of criteria."""
    counts: list[Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "sum_over_ranks", lambda values: counts.append(values) or values)
        of(OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(module, "sum_over_ranks", lambda values: values + counts.pop(0))
        shared = of(ONE)
    whole = of([*ONE, *OTHER])
    assert [shared[name] for name in SHARES] == [whole[name] for name in SHARES]
    assert whole["rubric_accuracy"] == pytest.approx(6 / 8)


def test_where_nothing_was_decided_there_are_no_accuracies() -> None:
    found = of([judged(0, 2, None), judged(0, 2, None, None)])
    assert (found["instruction_accuracy_lower_bound"], found["instruction_accuracy_upper_bound"]) == (0, 1)
    assert {"rubric_accuracy", "instruction_accuracy", "instruction_accuracy_wholly_decided"}.isdisjoint(found)
    assert found["unscorable"] == 1
    assert found["reward_unknown"] == 1
    assert "reward" not in found


def test_the_reward_is_the_one_that_advantages_were_made_from() -> None:
    """Whatever scheme made them; one without rewards has no metrics of them."""
    experience = collate(ONE, [Relevance(torch.zeros(len(row.verdicts), 1)) for row in ONE])
    none = torch.zeros(experience.response_mask.shape)
    own = Credited(none, torch.tensor([3.0, 9.0]), torch.tensor([True, False]), {"forgiven": torch.tensor(0.5)})
    found = rollout_metrics(experience, ONE, own)
    assert (found["reward"], found["reward_unknown"], found["forgiven"]) == (3, 0.5, 0.5)
    assert {"reward", "reward_unknown"}.isdisjoint(rollout_metrics(experience, ONE, Credited(none, None, None, {})))


def test_a_process_without_responses_has_no_figures_of_its_own() -> None:
    assert of([]) == {}


def test_the_share_of_answer_tokens_that_were_not_read_is_counted() -> None:
    rows = [judged(0, 3, True), judged(0, 5, True)]  # tokens of the answers, without the end tokens
    read = [torch.tensor([True] * 4), torch.tensor([True, False, False, False, False, False])]
    assert of(rows, *read)["unread"] == pytest.approx(4 / 8)
    assert of(rows)["unread"] == 0
