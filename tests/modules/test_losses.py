"""Options of the policy's loss, in runs on a tiny model."""

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from torch import Tensor

from rtt_lightning.algorithms import GRPO, RTT, CoRT, EndToken
from rtt_lightning.commands.run import main
from rtt_lightning.functional.losses import sequence_ratio
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier
from tests.callbacks.ragged import FP32_SGD

RATIO = "--model.init_args.ratio=rtt_lightning.functional.losses."
TWO_UPDATES = ("--data.view.init_args.updates=2", "--trainer.max_steps=2", *FP32_SGD)
TARGET = ("--model.init_args.kl_coef=0.5", "--model.init_args.kl_target=0.001", "--model.init_args.kl_gain=2")
"""A KL that any step exceeds: the weight rises."""


class Arbitrary(Verifier):
    """Rewards that differ within a group, whatever is said."""

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict(crc32(answer.encode()) % 2 == 0, "")] * len(sample.criteria)


def weights_after(policy_args, *flags: str) -> dict[str, Tensor]:
    return main(policy_args("fit", *flags)).model.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_ratios_differ_only_from_the_second_update_of_a_window_on(policy_args) -> None:
    """All are 1 in the first."""
    ratios = [f"{RATIO}{name}" for name in ("token_ratio", "sequence_token_ratio")]
    one_update = [weights_after(policy_args, "--trainer.max_steps=1", ratio, *FP32_SGD) for ratio in ratios]
    two_updates = [weights_after(policy_args, ratio, *TWO_UPDATES) for ratio in ratios]
    assert equal(*one_update)
    assert not equal(*two_updates)


def test_a_ratio_of_whole_responses_trains_without_token_credit(policy_args) -> None:
    grpo = "--model.init_args.algorithm=rtt_lightning.GRPO"
    narrow = (f"--model.init_args.clip_{side}=1e-5" for side in ("low", "high"))
    flags = (grpo, *TWO_UPDATES, *narrow, "--rollout.sampling.n=8", f"--rollout.verifier={__name__}.Arbitrary")
    run = main(policy_args("fit", f"{RATIO}sequence_ratio", *flags))
    assert run.trainer.callback_metrics["train/clipped"] > 0
    same = main(policy_args("fit", f"{RATIO}sequence_token_ratio", *flags)).model.state_dict()
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, same[name], atol=1e-6, rtol=1e-4, msg=name)


def test_token_credit_that_would_cancel_is_told(tiny_model: str) -> None:
    for algorithm in (RTT(), CoRT(), EndToken(CoRT())):
        said = f"the token credit of {type(algorithm).__name__} would cancel.*set ratio to .*sequence_token_ratio"
        with pytest.raises(UserError, match=said):
            PolicyModule(tiny_model, algorithm, ratio=sequence_ratio)
    for algorithm in (GRPO(), RTT(beta=0)):
        PolicyModule(tiny_model, algorithm, ratio=sequence_ratio)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dual_clip": 1.0}, r"dual_clip must be finite and > 1, such as 3, or null for none, got 1\.0"),
        (
            {"kl_target": 8.0},
            r"kl_target .* needs kl_coef above 0 .* got kl_target 8\.0, kl_coef 0\.0",
        ),
        ({"kl_target": 8.0, "kl_coef": 0.1, "kl_gain": 5.0}, "kl_gain between 0 and 5; got .* kl_gain 5"),
        ({"ratio": lambda logprobs: logprobs}, r"cannot be called with \(logprobs, old_logprobs, mask\)"),
    ],
)
def test_settings_that_mean_nothing_are_told(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PolicyModule("none", **setting)


def test_the_weight_of_the_kl_follows_its_target_and_a_resumed_run_goes_on_with_it(policy_args, tmp_path: Path) -> None:
    saves = "--trainer.enable_checkpointing=true"
    first = main(policy_args("fit", *TARGET, saves, "--trainer.max_steps=2"))
    metrics = first.trainer.callback_metrics
    assert metrics["train/kl_coef"].item() == 0.5  # by the second update: the KL of the first was 0
    first.trainer.save_checkpoint(tmp_path / "two.ckpt")
    whole = main(policy_args("fit", *TARGET, "--trainer.max_steps=4"))
    again = main(policy_args("fit", *TARGET, "--trainer.max_steps=4", f"--ckpt_path={tmp_path}/two.ckpt"))
    assert again.model.kl_coef == whole.model.kl_coef != first.model.kl_coef
    assert equal(again.model.state_dict(), whole.model.state_dict())
    assert metrics["train/kl_per_response"] > 1.2 * 0.001
    assert first.model.kl_coef == pytest.approx(0.5 * (1 + 2 * 0.2))


def test_a_target_needs_samples_of_which_a_kl_can_be_measured(policy_args) -> None:
    with pytest.raises(UserError, match=r"kl_target 0\.001 compares log-probs of reference and policy.* 0\.9"):
        main(policy_args("fit", *TARGET, "--rollout.sampling.top_p=0.9"))
