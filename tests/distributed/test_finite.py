"""What is not finite on one of two processes is skipped, or ends the run, on both."""

import json
from pathlib import Path

import pytest
import torch

from rtt_lightning.runtime.checkpoints import checkpoints, read_checkpoint
from tests.distributed.conftest import DDP, FSDP, Run
from tests.distributed.test_resume import SEEDED

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("strategy", [DDP, FSDP], ids=["ddp", "fsdp"])
def test_a_bad_gradient_of_one_process_is_passed_over_by_both(
    rtt: Run, policy_args, tmp_path: Path, strategy: tuple[str, ...]
) -> None:
    """Update 2 of 6 is skipped; of updates 4 and 5 in a row the second is one too many."""
    bad = "{class_path: tests.distributed.recorder.BadGradients, init_args: {updates: [2, 4, 5], rank: 1}}"
    every_one = f"init_args: {{folder: {tmp_path}/ckpt, every: 1, keep: 0}}"
    saves = f"{{class_path: rtt_lightning.Checkpoints, {every_one}}}"
    flags = ("--trainer.max_steps=6", "--trainer.gradient_clip_val=1.0", "--model.init_args.skip_nonfinite=1")
    more = (f"--trainer.callbacks=[{bad},{saves}]", "--trainer.enable_checkpointing=true")
    printed = rtt(*policy_args("fit"), *strategy, *SEEDED, *flags, *more, processes=2, expect=1)
    assert "update 2 (window 0) is not finite: gradient norm (inf), of prompts constraints/0/" in printed
    assert "FloatingPointError: update 5 (window 2) is not finite: gradient norm" in printed
    states = [read_checkpoint(path) for path in checkpoints(tmp_path / "ckpt")]
    assert [state["skipped_updates"] for state in states] == [[0, 0], [1, 1], [1, 0], [2, 1]]
    one, two, three, four = [json.dumps(state["lr_schedulers"]) for state in states]
    assert one == two != three == four
    for before, after, same in zip(states, states[1:], (True, False, True), strict=False):
        pairs = [(value, after["state_dict"][name]) for name, value in before["state_dict"].items()]
        assert all(torch.equal(*pair) for pair in pairs) == same
