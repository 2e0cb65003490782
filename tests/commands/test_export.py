"""Exported folders load in plain `transformers` and compute what the checkpoint computes."""

import copy
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    GenerationConfig,
    LlamaForCausalLM,
)

from rtt_lightning.cli import run
from rtt_lightning.commands.cards import policy_card
from rtt_lightning.commands.export import export
from rtt_lightning.commands.run import main
from rtt_lightning.lm import folders
from rtt_lightning.lm.loading import Lora, merged_weights
from rtt_lightning.lm.tokenizers import end_of_turn
from rtt_lightning.modules import PolicyModule
from tests.families import saved
from tests.modules.test_discriminator import fit as fit_discriminator

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
        expected = run.model.relevance.network(IDS).logits[..., 0]
        torch.testing.assert_close(model(IDS).logits[..., 0], expected, atol=0.05, rtol=0.05)
    assert "{criterion}" in json.loads((tmp_path / "out/relevance.json").read_text())["template"]


def test_the_code_of_a_policys_card_runs(
    policy_args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_policy(policy_args, tmp_path / "x.ckpt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rtt", "export", "x.ckpt", "out"])
    run()
    code = (tmp_path / "out/README.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "card.py").write_text(code)
    assert len(code.splitlines()) <= 5
    capsys.readouterr()
    runpy.run_path("card.py")
    assert capsys.readouterr().out.strip()


def test_a_discriminators_card_says_what_it_learned_from_and_how_good_it_is(tmp_path: Path, tiny_model: str) -> None:
    run = fit_discriminator(tmp_path, tiny_model, "--trainer.limit_train_batches=2")
    run.trainer.save_checkpoint(tmp_path / "x.ckpt")
    export(tmp_path / "x.ckpt", tmp_path / "bare")
    bare = (tmp_path / "bare/README.md").read_text()
    assert re.search(
        r"^\d\d responses with labels, SHA-256 `[0-9a-f]{64}`; kinds of criteria: `rtt:include_word`", bare, re.M
    )
    assert "Not measured: `rtt validate`" in bare
    overall = {"prompts": 12, "cells": 30, "brier": {"mean": 0.25, "low": 0.125, "high": 0.5}, "f1": {"mean": None}}
    overall["average_precision"] = {"mean": 0.5, "low": None, "high": None}  # of one prompt alone
    (tmp_path / "validate-2.json").write_text(json.dumps({"overall": overall}))
    export(tmp_path / "x.ckpt", tmp_path / "out", quality=tmp_path / "validate-2.json")
    card = (tmp_path / "out/README.md").read_text()
    assert "30 responses and criteria of 12 prompts that were held out." in card
    assert "| Brier score | 0.250 | 0.125 to 0.500 |" in card
    assert "| average precision, pooled | 0.500 | – to – |" in card
    assert "F1" not in card
    for path, said in (
        ("none.json", "cannot be read"),
        ("pairs.jsonl", "cannot be read"),
        ("out/config.json", "says nothing"),
    ):
        with pytest.raises(ValueError, match=said):
            export(tmp_path / "x.ckpt", tmp_path / "no", quality=tmp_path / path)


def checkpoint_of(model: str, path: Path, lora: Lora | None = Lora(4, 8.0), **arguments: Any) -> PolicyModule:
    """A policy that has moved, and its checkpoint at ``path``."""
    policy = PolicyModule(model=model, lora=lora, **arguments)
    policy.configure_model()
    generator = torch.Generator().manual_seed(1)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    state: dict[str, Any] = {"state_dict": policy.state_dict(), "global_step": 3}
    policy.on_save_checkpoint(state)
    torch.save(state, path)
    return policy


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model folder to spoil or to move."""
    return Path(saved("llama", tmp_path / "base"))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS % 256).logits.float()


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "apart"])
@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral", "olmoe", "glm4_moe", "qwen2_moe", "deepseek_v3"])
def test_experts_and_routers_are_exported(family: str, merge: bool, tmp_path: Path) -> None:
    policy = checkpoint_of(saved(family, tmp_path / "base"), tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge, dtype="float32")
    auto = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    exported = auto.from_pretrained(tmp_path / "out", dtype=torch.float32)
    torch.testing.assert_close(logits(exported), logits(policy.model), atol=1e-4, rtol=1e-4)
    with policy.model.disable_adapter():
        assert (logits(exported) - logits(policy.model)).abs().mean() > 0.01


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_config_and_files_agree_on_the_dtype_and_routers_keep_theirs(dtype: Any, tmp_path: Path) -> None:
    checkpoint_of(saved("deepseek_v3", tmp_path / "base"), tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out", dtype=dtype)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == dtype
    before = load_file(tmp_path / "base/model.safetensors")
    weights = load_file(tmp_path / "out/model.safetensors")
    assert weights.keys() == before.keys()
    biases = {name for name in weights if name.endswith("e_score_correction_bias")}
    assert len(biases) == 1
    assert all(torch.equal(weights[name], before[name]) for name in biases)
    assert {weights[name].dtype for name in weights.keys() - biases} == {getattr(torch, dtype)}


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "apart"])
@pytest.mark.parametrize(
    ("flags", "sampled"),
    [
        ({"temperature": 0.9, "top_p": 0.6}, True),
        ({"top_k": 7}, True),
        ({"do_sample": False, "temperature": 0.6}, False),  # greedy, as the model says
        ({"temperature": 0.0}, None),
        ({"output_scores": True}, None),
        ({"early_stopping": True, "length_penalty": 2.0}, None),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_base_keeps_generation_flags_that_do_not_fit_together(
    base: Path, tmp_path: Path, flags: dict[str, Any], sampled: bool | None, merge: bool
) -> None:
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **flags}))
    checkpoint_of(str(base), tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge)
    if merge:
        written = GenerationConfig.from_pretrained(tmp_path / "out").to_dict()
        assert {name: written[name] for name in flags} == flags
        assert written["do_sample"] == sampled


def test_an_exported_policy_ends_where_its_responses_did(base: Path, tmp_path: Path) -> None:
    """The base's generation config names another end (0) than its tokenizer and chat template, which ended them too."""
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    checkpoint_of(str(base), tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(base)
    ends = sorted({0, tokenizer.eos_token_id, end_of_turn(tokenizer) or 0})
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == ends
    assert len(ends) > 1


CONFIGURATION = """from transformers import LlamaConfig
class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODELING = """from transformers import LlamaForCausalLM
from .configuration_own import OwnConfig
class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = 2 * output.logits
        return output
"""


@pytest.fixture
def own_code(base: Path) -> Path:
    """A model that comes with its code, which gives twice the logits that Llama would."""
    (base / "configuration_own.py").write_text(CONFIGURATION)
    (base / "modeling_own.py").write_text(MODELING)
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnForCausalLM"]}
    config["auto_map"] = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    (base / "config.json").write_text(json.dumps(config))
    return base


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "apart"])
def test_code_that_comes_with_a_model_goes_with_its_export(own_code: Path, tmp_path: Path, merge: bool) -> None:
    policy = checkpoint_of(str(own_code), tmp_path / "p.ckpt", trust_remote_code=True)
    with pytest.raises(ValueError, match="--trust_remote_code true"):
        export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge)
    assert not (tmp_path / "out").exists()
    export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge, dtype="float32", trust_remote_code=True)
    if merge:
        shutil.rmtree(own_code)  # nothing of it is needed any more
        assert {path.name for path in (tmp_path / "out").glob("*.py")} == {"configuration_own.py", "modeling_own.py"}
    auto = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    exported = auto.from_pretrained(tmp_path / "out", dtype=torch.float32, trust_remote_code=True)
    torch.testing.assert_close(logits(exported), logits(policy.model), atol=1e-4, rtol=1e-4)
    assert "trust_remote_code=True" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "apart"])
def test_a_base_that_moved_is_found_by_a_flag_and_known_again(
    base: Path, tmp_path: Path, merge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = checkpoint_of("base", tmp_path / "p.ckpt")  # might be a name of the hub, but was a folder
    base.rename("moved")
    with pytest.raises(ValueError, match=r"is not at base: say where it is now with --base FOLDER"):
        export(Path("p.ckpt"), Path("out"), merge=merge)
    with pytest.raises(ValueError, match=r"is not at \./none: "):
        export(Path("p.ckpt"), Path("out"), merge=merge, base="./none")
    export(Path("p.ckpt"), Path("out"), merge=merge, base="moved", dtype="float32")
    monkeypatch.chdir("/")
    auto = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    exported = auto.from_pretrained(tmp_path / "out", dtype=torch.float32)
    torch.testing.assert_close(logits(exported), logits(policy.model), atol=1e-4, rtol=1e-4)
    other = LlamaForCausalLM.from_pretrained(tmp_path / "moved")
    other.model.layers[0].mlp.up_proj.weight.data.neg_()  # of the same shape
    other.save_pretrained(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"moved is not the model that was trained from.*--base"):
        export(tmp_path / "p.ckpt", tmp_path / "again", merge=merge, base=str(tmp_path / "moved"))


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "apart"])
def test_an_export_that_ends_half_way_leaves_nothing(
    base: Path, tmp_path: Path, merge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_of(str(base), tmp_path / "p.ckpt")

    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rtt_lightning.commands.export.policy_card", interrupt)  # the last thing that is written
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge)
    assert set(tmp_path.iterdir()) == before
    monkeypatch.undo()
    (tmp_path / "out.partial").mkdir()  # of one that was killed
    (tmp_path / "out.partial/model.safetensors").write_bytes(b"half")
    export(tmp_path / "p.ckpt", tmp_path / "out", merge=merge)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out"}
    new = tmp_path / "new"
    new.touch()
    assert {path.stat().st_mode for path in (tmp_path / "out").iterdir()} == {new.stat().st_mode}


def test_a_card_names_a_base_that_others_can_reach(base: Path, tmp_path: Path) -> None:
    checkpoint_of(str(base), tmp_path / "p.ckpt")
    export(tmp_path / "p.ckpt", tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert "from a local folder, `base`" in card
    assert str(tmp_path) not in card
    assert "base_model" not in card
    assert "base_model: Qwen/Qwen3-4B\n" in policy_card("mine", "Qwen/Qwen3-4B", 3, True, False)


def test_what_is_not_finite_is_not_exported(base: Path, tmp_path: Path) -> None:
    checkpoint_of(str(base), tmp_path / "p.ckpt", lora=None)
    state = torch.load(tmp_path / "p.ckpt")
    weight = state["state_dict"]["model.model.layers.0.mlp.up_proj.weight"]
    weight[0, 0] = 1e5
    torch.save(state, tmp_path / "large.ckpt")
    with pytest.raises(ValueError, match=r"up_proj\.weight is not finite in torch.float16; give --dtype"):
        export(tmp_path / "large.ckpt", tmp_path / "out", dtype="float16")
    weight[0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.ckpt")
    with pytest.raises(ValueError, match=r"nan\.ckpt holds numbers that are not finite, in .*up_proj"):
        export(tmp_path / "nan.ckpt", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("lost", ["a weight", "a file"])
def test_an_export_that_computes_something_else_is_refused(
    base: Path, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_of(str(base), tmp_path / "p.ckpt")
    if lost == "a weight":
        given = folders.merged_weights
        monkeypatch.setattr(folders, "merged_weights", lambda m: (w for w in given(m) if "up_proj" not in w[0]))
    else:
        given = folders._save
        monkeypatch.setattr(folders, "_save", lambda model, folder: given(spoilt(model), folder))
    with pytest.raises(ValueError, match="'llama' would not compute what was trained"):
        export(tmp_path / "p.ckpt", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def spoilt(model: Any) -> Any:
    other = copy.deepcopy(model)
    other.model.layers[1].mlp.down_proj.weight.data.zero_()
    return other


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
