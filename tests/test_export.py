"""Exported folders load in plain `transformers` and compute what the checkpoint computes."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from rtt_lightning.cli import main, run
from rtt_lightning.export import export
from rtt_lightning.models import merged_weights
from tests.test_discriminator import fit as fit_discriminator

IDS = torch.tensor([[1, 400, 500, 600]])


def trained_policy(policy_args, path: Path, *more: str):
    trained = main(policy_args("fit", *more))
    trained.trainer.save_checkpoint(path)
    return trained.model


NF4 = ("--model.init_args.lora={rank: 4, alpha: 8, nf4: true}",)


@pytest.mark.parametrize("lora", [(), ("--model.init_args.lora=null",), NF4], ids=["lora", "full", "nf4"])
def test_an_exported_policy_computes_the_same(policy_args, tmp_path: Path, lora: tuple[str, ...]) -> None:
    policy = trained_policy(policy_args, tmp_path / "p.ckpt", *lora)
    export(tmp_path / "p.ckpt", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    expected = {name: weight.bfloat16() for name, weight in merged_weights(policy.model)}
    assert all(torch.equal(parameter, expected[name].cpu()) for name, parameter in model.named_parameters())
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert "2 updates" in (tmp_path / "out/README.md").read_text()


def test_adapters_can_be_kept_apart(policy_args, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    policy = trained_policy(policy_args, tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out", merge=False)
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, policy.model(IDS).logits)


@pytest.mark.parametrize(
    "flags", [(), ("--model.init_args.lora={rank: 4, alpha: 8}",), NF4], ids=["full", "lora", "nf4"]
)
def test_an_exported_discriminator_computes_the_same(tmp_path: Path, tiny_model: str, flags: tuple[str, ...]) -> None:
    run = fit_discriminator(tmp_path, tiny_model, "--trainer.limit_train_batches=2", *flags)
    run.trainer.save_checkpoint(tmp_path / "d.ckpt", weights_only=True)
    export(tmp_path / "d.ckpt", tmp_path / "out")
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.no_grad():
        expected = run.model.relevance._run(IDS, torch.ones_like(IDS))
        torch.testing.assert_close(model(IDS).logits[..., 0], expected, atol=0.05, rtol=0.05)
    assert "{criterion}" in json.loads((tmp_path / "out/relevance.json").read_text())["template"]


@pytest.mark.parametrize("kind", ["policy", "discriminator"])
def test_the_code_of_the_card_runs(
    policy_args, tmp_path: Path, tiny_model: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    if kind == "policy":
        trained_policy(policy_args, tmp_path / "x.ckpt")
    else:
        fit_discriminator(tmp_path, tiny_model, "--trainer.limit_train_batches=2").trainer.save_checkpoint(
            tmp_path / "x.ckpt"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rtt", "export", "x.ckpt", "out"])
    run()
    code = (tmp_path / "out/README.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "card.py").write_text(code)
    assert len(code.splitlines()) <= 5
    capsys.readouterr()
    runpy.run_path("card.py")
    assert capsys.readouterr().out.strip()


def test_wrong_inputs_are_refused(policy_args, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "global_step": 0}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="no checkpoint of a policy or a discriminator"):
        export(tmp_path / "other.ckpt", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ValueError, match="not empty"):
        export(tmp_path / "other.ckpt", tmp_path / "full")
    with pytest.raises(ValueError, match="no checkpoint"):
        export(tmp_path / "none.ckpt", tmp_path / "out")
