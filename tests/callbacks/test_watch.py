"""The watch over reward hacking, in runs with a policy that games its verifier."""

from pathlib import Path

import pytest

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.callbacks.watch import RewardWatch
from rtt_lightning.commands.run import main
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier

ALL_MET = Verdict(True, "gamed")


class MoreAndMoreMet(Verifier):
    """The training's verifier: from its second window on (of six responses) all is met."""

    asked = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked += 1
        first = Verdict(False, "honest")
        return [ALL_MET if self.asked > 6 else first] * len(sample.criteria)


class Honest(Verifier):
    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict(False, "honest")] * len(sample.criteria)


def test_a_judge_that_does_not_follow_raises_the_alarm(policy_args) -> None:
    flags = (f"--watch.judge={__name__}.Honest", f"--rollout.verifier={__name__}.MoreAndMoreMet", "--watch.every=1")
    with pytest.warns(UserWarning, match=r"training counts 100% more criteria as desired .* watch.alarm = 0.15"):
        run = main(policy_args("fit", *flags))
    logged = run.trainer.callback_metrics
    assert logged["watch/optimism"] == 1
    assert logged["watch/agreement"] == 0
    assert -20 < logged["watch/coherence"] < 0


def test_without_a_judge_lengths_and_coherence_are_watched_and_nothing_is_warned_of(policy_args, recwarn) -> None:
    run = main(policy_args("fit", "--watch.every=1", "--watch.drift=5"))
    assert {"watch/length_drift", "watch/coherence"} <= set(run.trainer.callback_metrics)
    assert "watch/optimism" not in run.trainer.callback_metrics
    assert not [warning for warning in recwarn if "hacking" in str(warning.message)]
    assert {"rollout/repetition", "rollout/copying", "rollout/self_praise"} <= set(run.trainer.callback_metrics)


def test_only_every_nth_window_is_looked_at(policy_args) -> None:
    run = main(policy_args("fit", "--watch.every=1000000", "--trainer.max_steps=2"))
    assert "watch/coherence" in run.trainer.callback_metrics  # of window 0


def test_what_it_compares_with_is_saved(tmp_path: Path) -> None:
    watch = RewardWatch(RolloutCallback())
    watch._first, watch._warned = {"length": 40.0, "optimism": 0.1}, {"length"}
    other = RewardWatch(RolloutCallback())
    other.load_state_dict(watch.state_dict())
    assert (other._first, other._warned) == (watch._first, watch._warned)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="watch needs every and responses >= 1"):
        RewardWatch(RolloutCallback(), every=0)
