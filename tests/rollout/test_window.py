"""Windows to micro-batches: what each update holds, counts and leaves out."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtt_lightning.rollout.window import Window, make_window
from rtt_lightning.types import Credited, Experience

NAN = math.nan


def experience(groups: list[int], lengths: list[int], **more: Any) -> Experience:
    """Responses of so many tokens, each with one criterion that is met."""
    mask = torch.arange(max(lengths, default=0)) < torch.tensor(lengths)[:, None]
    met = torch.ones(len(groups), 1, dtype=torch.bool)
    relevance = torch.ones(len(groups), 1, mask.shape[1])
    return Experience.by_hand(met, relevance, group_ids=torch.tensor(groups), response_mask=mask, **more)


FIVE = experience([0, 0, 1, 2, 3], [2, 3, 4, 5, 6])
NAMES = ["a", "a", "b", "c", "d"]
COUNTED = torch.arange(5.0)[:, None].expand(5, 6)
"""Advantages that tell the rows apart."""


def credit(advantages: Tensor, trained: Tensor | None = None) -> Credited:
    return Credited(advantages, None, None, {}, trained)


def test_each_update_counts_its_tokens_and_knows_its_last_micro_batch() -> None:
    window = make_window(7, FIVE, credit(COUNTED), "RTT", NAMES, updates=2, micro_batches_per_update=2)
    assert window.number == 7
    assert [int(part["update_tokens"]) for part in window.micro_batches] == [9, 9, 11, 11]  # 2 + 3 + 4 and 5 + 6
    assert [part["last_of_update"] for part in window.micro_batches] == [False, True, False, True]
    assert {part["micro_batches"] for part in window.micro_batches} == {2}
    assert [part["advantages"][:, 0].tolist() for part in window.micro_batches] == [[0, 1], [2], [3], [4]]
    assert [part["prompt_id"] for part in window.micro_batches] == [["a", "a"], ["b"], ["c"], ["d"]]
    assert window.nonfinite() == []


def test_what_is_not_trained_on_is_in_no_micro_batch_and_counts_in_no_update() -> None:
    """Neither do its numbers; what is left is divided as if it were all."""
    advantages = COUNTED.clone()
    advantages[2] = NAN
    window = make_window(7, FIVE, credit(advantages, torch.tensor([1, 0, 0, 1, 1]) > 0), "RTT", NAMES, 2, 1)
    assert [part["prompt_id"] for part in window.micro_batches] == [["a"], ["c", "d"]]
    assert [part["advantages"][:, 0].tolist() for part in window.micro_batches] == [[0], [3, 4]]
    assert [int(part["update_tokens"]) for part in window.micro_batches] == [2, 11]  # 5 + 6
    assert window.nonfinite() == []


def test_a_window_may_be_left_without_anything_to_train_on() -> None:
    """Its updates have as many micro-batches as ever, of tokens of no response."""
    window = make_window(7, FIVE, credit(COUNTED, torch.zeros(5) > 0), "RTT", NAMES, 2, 2)
    assert [len(part["response_ids"]) for part in window.micro_batches] == [0] * 4
    assert [int(part["update_tokens"]) for part in window.micro_batches] == [0] * 4


def test_tokens_of_other_processes_count_also_where_this_one_has_none() -> None:
    """The mean is over the tokens of the update on all processes; a part without groups is trained on all the same."""
    shared = experience([5, 5], [1, 2], reduce=lambda tokens: tokens + 10)
    credited = credit(torch.ones(2, 2))
    window = make_window(0, shared, credited, "RTT", ["a", "a"], updates=2, micro_batches_per_update=1)
    assert [len(part["response_ids"]) for part in window.micro_batches] == [0, 2]
    assert [int(part["update_tokens"]) for part in window.micro_batches] == [10, 13]


def test_it_survives_its_state_dict_in_a_file_that_may_hold_nothing_but_tensors(tmp_path: Path) -> None:
    window = make_window(7, FIVE, credit(COUNTED), "RTT", NAMES, 2, 2)
    torch.save([window.state_dict()], tmp_path / "state")
    again = Window.resumed(torch.load(tmp_path / "state", weights_only=True), rank=0, ranks=1)
    assert again is not None
    assert again.number == 7
    assert str(again.micro_batches) == str(window.micro_batches)  # also where there is NaN


def test_each_process_goes_on_with_its_own_part_and_another_number_of_them_is_refused() -> None:
    states = [{"number": 3, "micro_batches": [{"of": rank}]} for rank in (0, 1)]
    resumed = Window.resumed(states, rank=1, ranks=2)
    assert resumed is not None
    assert resumed.micro_batches == [{"of": 1}]
    assert Window.resumed([], rank=1, ranks=2) is None
    with pytest.raises(ValueError, match=r"a window that 2 processes share; 1 cannot go on .* resume with 2, or from"):
        Window.resumed(states, rank=0, ranks=1)


def test_what_is_not_finite_is_named_with_its_prompts_and_trained_on_as_zero() -> None:
    relevance = torch.ones(5, 1, 6)
    relevance[1, 0, 0] = NAN
    advantages = COUNTED.clone()
    advantages[2, 1], advantages[3, 0] = math.inf, NAN
    rows = experience([0, 0, 1, 2, 3], [2, 3, 4, 5, 6])
    holed = Experience(**{**vars(rows), "relevance": relevance})
    window = make_window(0, holed, credit(advantages), "RTT", NAMES, 1, 4)
    assert window.nonfinite() == [("relevance", ["a", "a"]), ("advantages of RTT", ["b"]), ("advantages of RTT", ["c"])]
    trained = torch.cat([part["advantages"] for part in window.micro_batches])
    assert trained[2].tolist() == [2, 0, 2, 2, 2, 2]
    assert trained[3].tolist() == [0, 3, 3, 3, 3, 3]


def test_the_anchor_is_what_the_policy_says_now() -> None:
    class Policy:
        """The log-prob of a token is minus its row's advantage; that of a row with 3 cannot be computed."""

        device = torch.device("cpu")

        def response_logprobs(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
            assert not torch.is_grad_enabled()
            return torch.where(batch["advantages"] == 3, NAN, -batch["advantages"]), None

    window = make_window(0, FIVE, credit(COUNTED), "RTT", NAMES, 2, 2)
    window.anchor(Policy())
    assert [part["old_logprobs"][:, 0].tolist() for part in window.micro_batches] == [[0, -1], [-2], [0], [-4]]
    assert window.nonfinite() == [("log-probs", ["c"])]
