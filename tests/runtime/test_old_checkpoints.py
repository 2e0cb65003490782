"""Checkpoints of version 0.1.0 load."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.random_models import TINY, save_random_model
from rtt_lightning.commands.run import main
from tests.conftest import ROOT

OLD = ROOT / "tests/assets/v0.1.0"


def test_a_policy_saved_within_a_window_goes_on_as_with_its_own_version(tmp_path: Path) -> None:
    """It was saved after the first of its second window's two updates; policy-4 is what version 0.1.0 made of it."""
    model = save_random_model(tmp_path / "model", TINY | {"vocab_size": 280})
    run = main([
        "fit", f"--config={ROOT}/tests/assets/tiny_policy.yaml", f"--model.init_args.model={model}",
        "--data.source=rtt_lightning.RecordFiles", f"--data.source.init_args.train={OLD}/prompts.jsonl",
        "--data.view.init_args={prompts: 4, updates: 2}", "--rollout.relevance=rtt_lightning.RuleSpans",
        f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=4", f"--rollout.output={tmp_path}/windows",
        f"--ckpt_path={OLD}/policy.ckpt",
    ])  # fmt: skip
    assert run.trainer.global_step == 4
    assert not [*tmp_path.glob("windows/*")]  # nothing was sampled: the window came with the checkpoint
    expected = load_file(OLD / "policy-4.safetensors")
    trained = {name: weight for name, weight in run.model.state_dict().items() if name in expected}
    assert trained.keys() == expected.keys()
    torch.testing.assert_close(trained, expected, rtol=0, atol=1e-6)
