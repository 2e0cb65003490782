"""What is not finite is found whatever holds it, and large numbers are not taken for it."""

import pytest
import torch

from rtt_lightning.runtime import processes
from rtt_lightning.runtime.finite import (
    all_finite,
    finite_only,
    nonfinite_names,
    refuse_nonfinite,
    shortened,
    tensors_in,
)
from rtt_lightning.runtime.processes import mean_over_ranks


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_element_among_many_is_seen(dtype: torch.dtype, value: float) -> None:
    tensors = [torch.full((50, 3), 2.0, dtype=dtype), torch.zeros(0, dtype=dtype), torch.tensor([1, 2])]
    assert all_finite(tensors)
    tensors[0][49, 2] = value
    assert not all_finite(tensors)


def test_finite_numbers_whose_norm_overflows_are_finite() -> None:
    assert all_finite([torch.full((9,), 3e38), torch.full((9,), 60000.0, dtype=torch.float16)])
    assert all_finite([])


def test_the_names_of_bad_tensors_are_their_paths() -> None:
    tree = {"a": {"b": [torch.ones(1), torch.tensor(torch.nan)]}, "c": (torch.tensor(torch.inf), "text", 1.0)}
    assert nonfinite_names(tensors_in(tree)) == ["a/b/1", "c/0"]
    with pytest.raises(FloatingPointError, match="weights are not finite: a/b/1, c/0"):
        refuse_nonfinite(dict(tensors_in(tree)), "weights")


def test_another_process_may_be_the_one_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtt_lightning.runtime.finite.sum_over_ranks", lambda count: count + 2)
    with pytest.raises(FloatingPointError, match="weights are not finite: on another process"):
        refuse_nonfinite({"a": torch.ones(1)}, "weights")


def test_nobody_gets_a_tensor_that_is_not_finite() -> None:
    weights = finite_only([("one", torch.ones(1)), ("two", torch.tensor([1e39], dtype=torch.float32))])
    assert next(weights)[0] == "one"
    with pytest.raises(FloatingPointError, match="two is not finite as it would be handed to an engine"):
        next(weights)


def test_long_lists_of_names_are_cut() -> None:
    assert shortened(["a", "b", "a"]) == "a, b"
    assert shortened(map(str, range(11))) == "0, 1, 2, 3, 4, 5, 6, 7 and 3 more"


def test_a_mean_over_processes_is_of_those_that_measured_it(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [({"reward": 4.0, "length": torch.nan}, 3.0), ({"length": torch.nan, "gap": 9.0}, 0.0)]
    monkeypatch.setattr(processes, "gather", lambda mine: [mine, *others])
    found = mean_over_ranks({"reward": torch.tensor(2.0), "seconds": 7.0}, weight=1)
    assert found.keys() == {"reward", "seconds", "length"}  # a process without responses has no part in any
    assert (found["reward"], found["seconds"]) == (3.5, 7.0)  # (2 + 3 * 4) / 4
    assert str(found["length"]) == "nan"  # measured as such
