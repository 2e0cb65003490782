"""Reward schemes of a user's own, in real runs: what they return is looked at, trained on and shown."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtt_lightning.algorithms import Algorithm
from rtt_lightning.commands.run import main
from rtt_lightning.functional.advantages import group_normalize
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Credited, Experience
from tests.callbacks.ragged import ASKED, RAGGED, brief, rows_of

Args = Callable[..., list[str]]
ONCE = ("--trainer.max_steps=1", RAGGED)
TABLE = (*ONCE, "--rollout.table_every=1")


class Lenient(PolicyModule):
    """Response-level credit that forgives one unmet criterion; without rewards to show."""

    def advantages(self, experience: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        missed = (experience.exists & ~experience.as_desired).sum(1)
        rewards = (missed <= 1).float()
        advantages = group_normalize(rewards, experience.decided, experience.group_ids)
        return advantages[:, None] * experience.response_mask, {"forgiven": (missed == 1).float().mean()}


class Talkative(PolicyModule):
    """The longer the better: 10 and one more per token, which is not known of the second response."""

    def advantages(self, experience: Experience) -> Credited:
        rewards = 10.0 + experience.response_mask.sum(1)
        known = torch.arange(len(rewards)) != 1
        advantages = group_normalize(rewards, known, experience.group_ids)
        return Credited(advantages[:, None] * experience.response_mask, rewards, known, {})


class FirstToken(Algorithm):
    """All credit goes to the first token.

    Args:
        size: Of the credit.
    """

    def __init__(self, size: float = 1.0) -> None:
        self.size = size

    def __call__(self, experience: Experience) -> Credited:
        rewards, known = experience.desired_value.sum(1), experience.decided
        advantages = torch.zeros(experience.response_mask.shape)
        advantages[:, 0] = self.size
        return Credited(advantages, rewards, known, {"size": torch.tensor(self.size)})


class PerResponse(PolicyModule):
    def advantages(self, experience: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        return experience.signs.sum(1), {}


class Everywhere(PolicyModule):
    def advantages(self, experience: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.full(experience.response_mask.shape, 0.5), {}


class EverywhereByAlgorithm(FirstToken):
    def __call__(self, experience: Experience) -> Credited:
        return Credited(torch.full(experience.response_mask.shape, 0.5), None, None, {})


class Forgetful(PolicyModule):
    def advantages(self, experience: Experience) -> Any:
        self.algorithm(experience)


def shown_rewards(printed: str) -> list[str]:
    """The rewards of the table, which stand behind the marks of its rows."""
    return re.findall(r"^(?: [✓✗?] )+ +(–|[0-9.]+)  ", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "--model={}.PerResponse",
            r"^PerResponse returned advantages \[batch token\] of shape \[6\], expected \[6, 7\]",
        ),
        (
            "--model={}.Everywhere",
            r"^Everywhere returned an advantage of 0\.5 outside the response, in row 0 at token 1",
        ),
        ("--model.init_args.algorithm={}.EverywhereByAlgorithm", "^EverywhereByAlgorithm returned an advantage of 0.5"),
        ("--model={}.Forgetful", r"^Forgetful returned NoneType, expected Credited\(.*\) or the pair"),
    ],
)
def test_what_cannot_be_credit_ends_the_run_by_name(policy_args: Args, tmp_path: Path, flag: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        main(policy_args("fit", *ONCE, flag.format(__name__)))
    assert not (tmp_path / "completions").exists()


def test_a_pair_trains_without_rewards_to_show(
    policy_args: Args, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = main(policy_args("fit", *TABLE, f"--model={__name__}.Lenient"))
    assert isinstance(run.model, Lenient)
    assert "rollout/forgiven" in run.trainer.logged_metrics
    assert {"rollout/reward", "rollout/reward_unknown"}.isdisjoint(run.trainer.logged_metrics)
    assert "rollout/rubric_accuracy" in run.trainer.logged_metrics
    assert shown_rewards(capsys.readouterr().out) == ["–"] * 3


def test_rewards_of_a_subclass_are_those_that_are_shown(
    policy_args: Args, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    metrics = main(policy_args("fit", *TABLE, f"--model={__name__}.Talkative")).trainer.logged_metrics
    lengths = [len(row["response_ids"]) for row in rows_of(tmp_path)]
    assert metrics["rollout/reward"] == pytest.approx(10 + (sum(lengths) - lengths[1]) / 5)
    assert metrics["rollout/reward_unknown"] == pytest.approx(1 / 6)
    shown = [f"{10 + length}.00" for length in lengths[:3]]
    assert shown_rewards(capsys.readouterr().out) == [shown[0], "–", shown[2]]


def test_an_algorithm_named_in_a_file_trains(policy_args: Args, tmp_path: Path) -> None:
    """The file does not name a model class; what the algorithm says is what is trained on."""
    method = f"model: {{init_args: {{algorithm: {{class_path: {__name__}.FirstToken, init_args: {{size: 0.25}}}}}}}}"
    (tmp_path / "mine.yaml").write_text(method)
    run = main(policy_args("fit", *ONCE, f"--config={tmp_path}/mine.yaml"))
    assert type(run.model) is PolicyModule
    assert run.trainer.logged_metrics["rollout/size"] == 0.25
    for row in rows_of(tmp_path):
        assert row["advantages"] == [0.25] + [0.0] * (len(row["response_ids"]) - 1)
    assert max(p.abs().max() for name, p in run.model.named_parameters() if "lora_B" in name) > 0


WITHOUT_TRUNCATED = (
    "--model.init_args.algorithm=rtt_lightning.WithoutTruncated",
    f"--model.init_args.algorithm.init_args.algorithm={__name__}.FirstToken",
)


def test_responses_that_are_cut_off_are_not_trained_on(policy_args: Args, tmp_path: Path) -> None:
    """The scheme sees the others alone; the tokens of these alone are counted."""
    run = main(policy_args("fit", *ONCE, *WITHOUT_TRUNCATED))
    assert run.trainer.logged_metrics["rollout/trained_share"] == pytest.approx(4 / 6)
    trained = [row for row in rows_of(tmp_path) if row["finish_reason"] == "stop"]
    assert run.trainer.logged_metrics["rollout/tokens_seen"] == sum(len(row["response_ids"]) for row in trained)
    for row in rows_of(tmp_path):
        first = 1.0 if row in trained else 0.0
        assert row["advantages"] == [first] + [0.0] * (len(row["response_ids"]) - 1)


def test_a_window_without_anything_to_train_on_takes_its_updates(policy_args: Args) -> None:
    """Of responses of one token, all are cut off; its loss is 0, and no metric of tokens is logged."""
    limits = ("--trainer.max_steps=2", "--data.view.init_args.updates=2", "--rollout.sampling.max_new_tokens=1")
    run = main(policy_args("fit", *limits, *WITHOUT_TRUNCATED))
    assert run.trainer.global_step == 2
    assert run.trainer.logged_metrics["rollout/trained_share"] == 0
    assert "train/loss" not in run.trainer.logged_metrics
    assert max(p.abs().max() for name, p in run.model.named_parameters() if "lora_B" in name) == 0


def test_nothing_is_said_of_an_algorithm_that_a_subclass_does_not_use(
    policy_args: Args, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Its rewards would use only the signs of weights."""
    main(policy_args("fit", *ONCE, brief(tmp_path, ASKED | {"weight": 2.0}), f"--model={__name__}.Talkative"))
    assert not [warning for warning in recwarn if "weights" in str(warning.message)]
