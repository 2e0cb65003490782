"""A sampler whose log-probs are not the policy's is warned of, and stops the run."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from lightning.pytorch import Callback

from rtt_lightning.callbacks.canary import Canary
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import main
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


@pytest.mark.parametrize(
    ("command", "sampling", "consequence"),
    [
        ("fit", "--rollout.sampling.top_k=0", "This update changed nothing"),
        ("fit", "--rollout.sampling.top_k=5", "Nothing was trained on its responses"),
        ("fit", "--rollout.sampling.top_p=0.9", "Nothing was trained on its responses"),
        ("validate", "--rollout.evaluation.top_p=0.9", "Its responses were not evaluated"),
    ],
)
def test_a_wide_gap_stops_the_run_however_it_samples(
    policy_args: Callable[..., list[str]], command: str, sampling: str, consequence: str
) -> None:
    """Under top-k and top-p the responses have no log-probs to compare; a few more tokens do."""
    flags = (f"--rollout.engine={__name__}.Stale", sampling, "--canary.stop=0.4", "--trainer.limit_val_batches=1")
    with pytest.raises(OutsideFailure, match=rf"differ by 0\.500 .* canary\.stop = 0\.4: .* {consequence}"):
        main(policy_args(command, *flags))


class Counted(TransformersEngine):
    """Counts the tokens that it is asked for beyond those of the run."""

    probed: list[int] = []  # noqa: RUF012

    def probe(self, *args: Any) -> Iterator[Rollout]:
        for row in super().probe(*args):
            assert row.logprobs is not None
            self.probed.append(len(row.response_ids))
            yield row


@pytest.mark.parametrize(
    ("sampling", "times", "logged"),
    [("{top_k: 5, max_new_tokens: 8}", 2, "rollout/logprob_gap"), ("{max_new_tokens: 8}", 0, "train/logprob_gap")],
)
def test_a_few_tokens_are_sampled_for_each_change_of_weights_where_responses_cannot_be_compared(
    policy_args: Callable[..., list[str]], sampling: str, times: int, logged: str
) -> None:
    Counted.probed.clear()
    arguments = policy_args("fit", f"--rollout.engine={__name__}.Counted", f"--rollout.sampling={sampling}")
    metrics = main(arguments).trainer.logged_metrics
    assert len(Counted.probed) == times
    assert all(tokens <= 8 for tokens in Counted.probed)
    assert 0 < metrics[logged] < 1e-4
    assert len({"rollout/logprob_gap", "train/logprob_gap"} & metrics.keys()) == 1


def test_a_gap_ends_the_run_before_its_update_changes_a_weight(policy_args: Callable[..., list[str]]) -> None:
    seen: list[float] = []

    class Weights(Callback):
        def on_exception(self, trainer, pl_module, exception) -> None:
            seen.extend(float(p.abs().max()) for n, p in pl_module.named_parameters() if "lora_B" in n)

    run = main(policy_args("fit", f"--rollout.engine={__name__}.Stale", "--trainer.max_steps=0", "--canary.stop=0.4"))
    run.trainer.callbacks.append(Weights())
    run.trainer.fit_loop.epoch_loop.max_steps = 2
    with pytest.raises(OutsideFailure, match="This update changed nothing"):
        run.trainer.fit(run.model, datamodule=run.datamodule)
    assert set(seen) == {0.0}


def test_an_engine_without_log_probs_is_not_watched(policy_args: Callable[..., list[str]]) -> None:
    arguments = policy_args("fit", "--rollout.engine=tests.distributed.recorder.SeededEngine", "--canary.warn=1e-9")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*canary.*")
        run = main(arguments)
    assert run.trainer.global_step == 2
    assert "rollout/logprob_gap" not in run.trainer.logged_metrics


@pytest.mark.parametrize(("warn", "stop"), [(0.0, 1.0), (0.5, 0.4)])
def test_levels_out_of_order_are_refused(warn: float, stop: float) -> None:
    with pytest.raises(ValueError, match=f"canary needs 0 < warn <= stop, got {warn} and {stop}"):
        Canary(RolloutCallback(), warn, stop)
