"""Windows that teach nothing: told with their cause, counted, and not for ever; in runs of the tiny policy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from rtt_lightning.callbacks.idle import IdleWindows
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import main
from rtt_lightning.modules import PolicyModule
from rtt_lightning.rollout.causes import Cause
from rtt_lightning.types import Experience, OutsideFailure, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from tests.runtime.test_resume import saving
from tests.verifiers.judge.server import judge_server

Args = Callable[..., list[str]]
SIX = 6  # responses per window
GRPO = "--model.init_args.algorithm=rtt_lightning.GRPO"
UNIFORM = "--rollout.relevance=rtt_lightning.UniformRelevance"


class AllMet(Verifier):
    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict(True, "met")] * len(sample.criteria)


class Blind(Verifier):
    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict.unscorable("too dark")] * len(sample.criteria)


class EachFourthTeaches(Verifier):
    """Nothing is met, but in every fourth window one response meets all."""

    asked = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked += 1
        return [Verdict(self.asked % (4 * SIX) == 0, "said")] * len(sample.criteria)


class OneOfThree(Verifier):
    """Every group has a response that meets all."""

    asked = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked += 1
        return [Verdict(self.asked % 3 == 0, "said")] * len(sample.criteria)


class Infinite(PolicyModule):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * float("inf")


class Plain(PolicyModule):
    """Credit without a group baseline."""

    smallest_group = 1

    def advantages(self, experience: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        return experience.signs.sum(1)[:, None] * experience.response_mask, {}


def fit(args: Args, *flags: str, verifier: type[Verifier] = AllMet, steps: int = 8) -> Any:
    engine = "--rollout.engine=tests.distributed.recorder.SeededEngine"
    chosen = f"--rollout.verifier={__name__}.{verifier.__name__}"
    return main(args("fit", engine, chosen, f"--trainer.max_steps={steps}", *flags))


def said(caught: Any, what: str = "teaches nothing") -> list[str]:
    return [str(warning.message) for warning in caught if what in str(warning.message)]


def test_a_judge_that_says_nothing_ends_the_run_with_its_reason(policy_args: Args, tmp_path: Path) -> None:
    criteria, data = [{"text": "It is polite.", "checker": "judge"}], tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"Of {n}.", "criteria": criteria}) + "\n" for n in range(4)))
    message = {"content": None, "refusal": "I cannot."}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    judge = "--rollout.verifier.judge"
    flags = (
        f"--data.source={{class_path: rtt_lightning.RecordFiles, init_args: {{train: {data}}}}}",
        "--rollout.verifier=rtt_lightning.Router",
        f"{judge}=rtt_lightning.LLMJudge",
        f"{judge}.model=m",
        f"{judge}.file={tmp_path}/judge.sqlite",
    )
    reason = r"6 of 6 criteria could not be decided, most often \(6 times\): judge: the judge declines: 'I cannot\.'"
    with (
        judge_server(body=body) as url,
        pytest.warns(UserWarning, match="teaches nothing") as caught,
        pytest.raises(OutsideFailure, match=rf"^2 windows in a row taught nothing, the last one: {reason}.*idle\.stop"),
    ):
        fit(policy_args, *flags, f"{judge}.url={url}", "--idle.stop=2")
    [warning] = said(caught)
    assert warning.startswith("window 0 teaches nothing: 6 of 6 criteria could not be decided")
    assert warning.endswith("; after 2 in a row the run ends (idle.stop)")


@pytest.mark.parametrize(
    "flags",
    [
        (GRPO,),
        (GRPO, "--model.init_args.kl_coef=0.1", "--model.init_args.entropy_coef=0.01"),  # neither teaches the rubric
        ("--model.init_args.algorithm.init_args.alpha=0", UNIFORM),  # all credit from cells, of which none is live
        ("--model=tests.modules.test_schemes.Lenient",),
    ],
    ids=["grpo", "with-kl", "dead-cells", "own-scheme"],
)
def test_equal_rewards_end_the_run_with_their_cause(policy_args: Args, flags: tuple[str, ...]) -> None:
    with pytest.raises(OutsideFailure, match=r"^2 windows in a row .*: all criteria met: .*harder prompts"):
        fit(policy_args, *flags, "--idle.stop=2")


def test_windows_whose_updates_are_all_skipped_are_idle_too(policy_args: Args) -> None:
    flags = (f"--model={__name__}.Infinite", "--model.init_args.skip_nonfinite=99", "--idle.stop=2")
    updates = ("--data.view.init_args.updates=2", "--trainer.accumulate_grad_batches=1")
    with pytest.raises(OutsideFailure, match=r"^2 windows in a row .*: each of its updates was skipped as not finite"):
        fit(policy_args, *flags, *updates, verifier=OneOfThree)


def test_windows_in_between_that_teach_keep_the_run_going(policy_args: Args) -> None:
    with pytest.warns(UserWarning, match="teaches nothing") as caught:
        run = fit(policy_args, GRPO, "--idle.stop=4", verifier=EachFourthTeaches)
    assert run.trainer.global_step == 8
    assert run.trainer.callback_metrics["rollout/idle_windows"] == 6
    [warning] = said(caught)
    assert warning.startswith("window 0 teaches nothing: none met, by any response of 6, most often (")


def test_a_run_that_is_to_go_on_goes_on(policy_args: Args) -> None:
    run = fit(policy_args, GRPO, "--idle.stop=0", steps=6)
    assert run.trainer.callback_metrics["rollout/idle_windows"] == 6


def test_a_short_run_in_which_nothing_could_be_decided_ends_alike(policy_args: Args) -> None:
    """Which chance does not explain, as it may explain equal rewards."""
    with pytest.raises(OutsideFailure, match=r"^3 windows in a row .* times\): too dark.*raise idle\.stop \(now 5\)"):
        fit(policy_args, GRPO, verifier=Blind, steps=3)
    fit(policy_args, GRPO, "--idle.stop=0", verifier=Blind, steps=1)
    fit(policy_args, GRPO, steps=3)


@pytest.mark.parametrize("updates", [1, 2])
def test_the_row_goes_on_in_a_resumed_run(policy_args: Args, tmp_path: Path, updates: int) -> None:
    """Also from within a window of two updates, which is counted once."""
    flags = (GRPO, f"--data.view.init_args.updates={updates}", "--idle.stop=4")
    fit(policy_args, *flags, *saving(tmp_path, updates=3))
    with pytest.raises(OutsideFailure, match=r"^4 windows in a row"):
        fit(policy_args, *flags, *saving(tmp_path, updates=20))
    windows = sorted(path.name for path in (tmp_path / "completions").iterdir())
    assert windows == [f"window-{n:06d}.parquet" for n in range(4)]


def test_dead_cells_are_told_where_responses_still_earn_credit(policy_args: Args) -> None:
    with pytest.warns(UserWarning, match="teaches nothing") as caught:
        fit(policy_args, UNIFORM, "--idle.stop=0", verifier=EachFourthTeaches, steps=4)
    assert "; and no cell of a response and a criterion is live" in said(caught)[0]
    [warning] = said(caught, "response-level credit alone")
    assert warning.startswith("window 3 has response-level credit alone: no cell of a response and a criterion is live")


def test_one_response_per_prompt_is_refused_where_groups_are_compared(policy_args: Args) -> None:
    one = "--rollout.sampling.n=1"
    for algorithm in ((GRPO,), ()):
        with pytest.raises(ValueError, match=r"rollout\.sampling\.n is 1, but the reward scheme compares at least 2"):
            fit(policy_args, *algorithm, one)
    fit(policy_args, "--model.init_args.algorithm.init_args.alpha=0", one, steps=1)  # compares tokens within a response
    fit(policy_args, f"--model={__name__}.Plain", one, steps=1)


def test_its_state_is_saved() -> None:
    rollout = RolloutCallback()
    idle, other = IdleWindows(rollout), IdleWindows(rollout)
    idle._windows, idle._in_a_row, idle._cause, idle._warned = 7, 2, Cause("so", "fix"), {"fix"}
    other.load_state_dict(idle.state_dict())
    assert vars(other) == vars(idle)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"idle\.stop must be a number of windows, or 0 for never, got -1"):
        IdleWindows(RolloutCallback(), -1)
