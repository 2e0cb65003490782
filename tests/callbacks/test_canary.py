"""A sampler whose log-probs are not the policy's is warned of, and stops the run."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from rtt_lightning.callbacks.canary import Canary
from rtt_lightning.cli import main
from rtt_lightning.engines import TransformersEngine
from rtt_lightning.types import OutsideFailure, Rollout

OFF = 0.5


class Stale(TransformersEngine):
    """Log-probs as of other weights."""

    def generate(self, *args: Any) -> Iterator[Rollout]:
        for row in super().generate(*args):
            yield replace(row, logprobs=row.logprobs and tuple(value - OFF for value in row.logprobs))


def run(policy_args: Callable[..., list[str]], *flags: str) -> int:
    return main(policy_args("fit", f"--rollout.engine={__name__}.Stale", *flags)).trainer.global_step


def test_a_gap_is_warned_of_once(policy_args: Callable[..., list[str]]) -> None:
    with pytest.warns(UserWarning, match=r"differ by 0\.500 nats per token .* canary\.warn = 0\.15") as caught:
        assert run(policy_args) == 2
    assert sum("canary.warn" in str(warning.message) for warning in caught) == 1


def test_a_wide_gap_stops_the_run(policy_args: Callable[..., list[str]]) -> None:
    with pytest.raises(OutsideFailure, match=r"differ by 0\.500 nats per token .* canary\.stop = 0\.4"):
        run(policy_args, "--canary.stop=0.4")


def test_a_sampler_without_log_probs_is_not_watched(policy_args: Callable[..., list[str]]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*canary.*")
        assert run(policy_args, "--rollout.sampling.top_k=5", "--canary.stop=0.2") == 2


@pytest.mark.parametrize(("warn", "stop"), [(0.0, 1.0), (0.5, 0.4)])
def test_levels_out_of_order_are_refused(warn: float, stop: float) -> None:
    with pytest.raises(ValueError, match=f"canary needs 0 < warn <= stop, got {warn} and {stop}"):
        Canary(warn, stop)
