"""Responses that could be longer than the model bears are refused before anything is sampled."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from rtt_lightning.commands.run import main

LONGER = "--rollout.evaluation.max_new_tokens=9"


@pytest.fixture
def stretched(tiny_model: str, tmp_path: Path) -> str:
    """The tiny model with dynamic NTK scaling beyond 64 tokens."""
    folder = copytree(tiny_model, tmp_path / "stretched")
    config = json.loads((folder / "config.json").read_text())
    rotary = config["rope_parameters"] | {"rope_type": "dynamic", "factor": 4.0}
    (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": rotary, "max_position_embeddings": 64}))
    return str(folder)


@pytest.mark.parametrize(
    ("command", "flags", "longest"),
    [
        ("fit", ["--data.max_prompt_tokens=60"], 68),
        ("fit", ["--data.max_prompt_tokens=56", "--trainer.limit_val_batches=1", LONGER], 65),
        ("validate", ["--data.max_prompt_tokens=60", "--trainer.limit_val_batches=1"], 68),
    ],
    ids=["fit", "fit-with-validation", "validate"],
)
def test_lengths_that_leave_the_original_one_are_refused(
    policy_args: Callable[..., list[str]], stretched: str, command: str, flags: list[str], longest: int
) -> None:
    arguments = policy_args(command, "--model.init_args.model", stretched, "--data.overlong=truncate", *flags)
    with pytest.raises(ValueError, match=f"up to 64 tokens: beyond this original length .* of up to {longest}: lower"):
        main(arguments)


def test_lengths_within_the_original_one_train(policy_args: Callable[..., list[str]], stretched: str) -> None:
    flags = ("--data.overlong=truncate", "--data.max_prompt_tokens=56")
    trainer = main(policy_args("fit", "--model.init_args.model", stretched, *flags)).trainer
    assert trainer.global_step == 2
    assert trainer.callback_metrics["watch/neutral_text"] < 0  # of as much of the text as fits
