"""Checkpoints of two processes: resumed alike, read by any number of them, in shards or in one file."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from rtt_lightning.runtime.checkpoints import newest, read_checkpoint
from tests.callbacks.elsewhere import AHEAD
from tests.distributed.conftest import DDP, FSDP, Run
from tests.runtime.test_resume import TWO_UPDATES, assert_same, final, journal, saving

pytestmark = pytest.mark.slow

# Whole windows after an even number of updates; an odd one lies within a window.
# Of three prompts the first process has two, one for each update, the second one.
SEEDED = (
    "--rollout.engine=tests.distributed.recorder.SeededEngine",
    "--data.view.init_args.prompts=3",
    *TWO_UPDATES,
)
FULL = ("--model.init_args.lora=null", "--model.init_args.kl_coef=0", "--model.init_args.kl_target=null")


def test_two_processes_resume_within_a_window(rtt: Run, policy_args, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    arguments = (*policy_args("fit"), *FSDP, *SEEDED)
    rtt(*arguments, *saving(whole), processes=2)
    rtt(*arguments, *saving(broken, updates=3), processes=2)
    rtt(*arguments, *saving(broken), processes=2)
    assert_same(whole, broken)


def test_two_processes_that_sample_ahead_resume_within_a_window(rtt: Run, policy_args, tmp_path: Path) -> None:
    """Under DDP: each goes on with the rest of its window, and with its own responses to the next one."""
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    whole.mkdir(), rest.mkdir()
    arguments = (*policy_args("fit"), *DDP, *SEEDED, *AHEAD)
    rtt(*arguments, *saving(whole, keep=0), processes=2)
    rtt(*arguments, *saving(rest), f"--ckpt_path={whole}/ckpt/step-00000003.ckpt", processes=2)
    assert journal(rest) == {update: entry for update, entry in journal(whole).items() if update > 3}
    assert all(torch.equal(value, final(rest)[name]) for name, value in final(whole).items())


def test_shards_are_read_by_another_number_of_processes(rtt: Run, policy_args, tmp_path: Path) -> None:
    """Two processes of FSDP, then one: the journal goes on as that of one process alone."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir(), shared.mkdir()
    arguments = (*policy_args("fit"), *SEEDED, *FULL)
    rtt(*arguments, *saving(alone))
    rtt(*arguments, *FSDP, *saving(shared, updates=4), processes=2)
    checkpoint = newest(shared / "ckpt")
    assert checkpoint is not None
    assert sorted(path.name for path in checkpoint.iterdir()) == ["meta.pt", "shard-00000.pt", "shard-00001.pt"]
    rtt(*arguments, *saving(shared))
    expected, found = journal(alone), journal(shared)
    assert expected.keys() == found.keys()
    for update, entry in expected.items():
        assert found[update]["loss"] == pytest.approx(entry["loss"], rel=1e-4, abs=1e-6)
    mine, theirs = (read_checkpoint(newest(folder / "ckpt") or folder)["state_dict"] for folder in (alone, shared))
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-5)


def test_another_number_of_processes_is_refused_within_a_window(rtt: Run, policy_args, tmp_path: Path) -> None:
    arguments = (*policy_args("fit"), *SEEDED)
    rtt(*arguments, *DDP, *saving(tmp_path, updates=3), processes=2)
    printed = rtt(*arguments, *saving(tmp_path), expect=2)
    assert "resume with 2, or from the end of a window" in printed


def test_validation_of_two_processes_is_that_of_one(rtt: Run, policy_args, tmp_path: Path) -> None:
    """5 prompts in batches of 2: the second process has 2 of them and no padding."""
    metrics = []
    for processes, strategy in ((1, ()), (2, DDP), (2, FSDP)):
        shutil.rmtree(tmp_path / "completions", ignore_errors=True)
        flags = ("--data.source.init_args.val=5", "--data.view.init_args.eval_prompts=2", "--side_effects.bare_tasks=3")
        rtt(
            *policy_args("validate", "--trainer.limit_val_batches=1.0"),
            *strategy,
            *flags,
            "--model.init_args.lora=null",
            processes=processes,
        )
        metrics.append(json.loads((tmp_path / "completions/validate.json").read_text()))
    names = ("rubric_accuracy", "instruction_accuracy", "coherence", "length", "neutral_text", "bare_length")
    for name in (f"val/{name}" for name in (*names, "bare_coherence")):
        assert [found[name] for found in metrics] == [pytest.approx(metrics[0][name], rel=1e-4)] * 3, name
