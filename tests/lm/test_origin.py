"""A checkpoint is compared with the run that loads it: base, adapters, tokenizer, template."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rtt_lightning.commands.run import main
from rtt_lightning.lm.loading import Lora
from rtt_lightning.lm.origin import differences
from rtt_lightning.modules import PolicyModule
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.modules.model import POLICY_KEY
from rtt_lightning.modules.training import TrainableModule
from rtt_lightning.relevance.discriminator.checkpoint import load
from rtt_lightning.runtime.checkpoints import BASE_KEY, read_checkpoint

LORA = Lora(rank=4, alpha=8)


def copy(model: str, folder: Path) -> Path:
    return shutil.copytree(model, folder)


def one_number(folder: Path) -> None:
    """Another value in the middle of one tensor."""
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][30, 7] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def edited(file: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, **changes}))

    return edit


def another_token(folder: Path) -> None:
    content = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(content.replace('"content": "<|endoftext|>"', '"content": "<|theend|>"'))


def another_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text("{{ 'Be brief. ' }}" + path.read_text())


# -- the comparison --------------------------------------------------------------------------------------------------


def policy(model: str | Path, lora: Lora | None = LORA) -> PolicyModule:
    module = PolicyModule(str(model), lora=lora)
    module.configure_model()
    return module


def saved(module: TrainableModule) -> dict[str, Any]:
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


OTHERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights": (one_number, "other base weights"),
    "a value of the configuration": (edited("config.json", rope_theta=5e5), "config.rope_theta none, now 500000.0"),
    "the vocabulary": (another_token, "other tokenizer"),
    "the template": (another_template, "other chat template"),
}


@pytest.mark.parametrize(("change", "named"), OTHERS.values(), ids=OTHERS)
def test_another_base_is_named_and_refused(
    tiny_model: str, tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    folder = copy(tiny_model, tmp_path / "other")
    change(folder)
    checkpoint, other = saved(policy(tiny_model)), policy(folder)
    with pytest.raises(ValueError, match=rf"than this run has: {named}[^;]*\. Give the model and .*--accept_mismatch"):
        other.on_load_checkpoint(checkpoint)
    other.accept_mismatch = True
    with pytest.warns(UserWarning, match=named):
        other.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("lora", "named"),
    [
        (Lora(rank=8, alpha=8), "lora.rank 4, now 8"),
        (Lora(rank=4, alpha=64), "lora.alpha 8, now 64"),
        (None, r"lora .*, now none; targets \['down_proj', .*\], now \[\]"),
    ],
)
def test_other_adapters_are_named_and_refused(tiny_model: str, lora: Lora | None, named: str) -> None:
    checkpoint, other = saved(policy(tiny_model)), policy(tiny_model, lora)
    with pytest.raises(ValueError, match=named):
        other.on_load_checkpoint(checkpoint)


def test_what_is_accepted_must_fit_all_the_same(tiny_model: str) -> None:
    other = policy(tiny_model, Lora(rank=8, alpha=8))
    other.accept_mismatch = True
    with pytest.warns(UserWarning, match=r"lora.rank"), pytest.raises(ValueError, match=r"another shape .*\(4, 32\)"):
        other.on_load_checkpoint(saved(policy(tiny_model)))


def test_the_same_base_elsewhere_is_the_same(tiny_model: str, tmp_path: Path) -> None:
    moved = policy(copy(tiny_model, tmp_path / "moved"))
    assert differences(saved(policy(tiny_model))[BASE_KEY], moved.base) == []
    moved.on_load_checkpoint(saved(policy(tiny_model)))
    edited("config.json", transformers_version="4.0", dtype="float16")(tmp_path / "moved")
    policy(tmp_path / "moved").on_load_checkpoint(saved(policy(tiny_model)))


def test_a_checkpoint_without_the_record_is_compared_by_what_it_says(tiny_model: str, tmp_path: Path) -> None:
    folder = copy(tiny_model, tmp_path / "other")
    one_number(folder)
    checkpoint = saved(policy(tiny_model))
    del checkpoint[BASE_KEY]
    policy(folder).on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match=r"lora.alpha 8, now 9"):
        policy(folder, Lora(rank=4, alpha=9)).on_load_checkpoint(checkpoint)
    del checkpoint[POLICY_KEY]
    policy(folder).on_load_checkpoint(checkpoint)


def test_a_discriminator_knows_its_body(tiny_model: str, tmp_path: Path) -> None:
    module = DiscriminatorModule(str(copy(tiny_model, tmp_path / "body")), layers=1)
    module.configure_model()
    torch.save({**saved(module), "pytorch-lightning_version": "2"}, tmp_path / "d.ckpt")
    path = str(tmp_path / "d.ckpt")
    load(path)
    (tmp_path / "body").rename(tmp_path / "moved")
    load(path, body=str(tmp_path / "moved"))
    one_number(copy(tiny_model, tmp_path / "body"))
    with pytest.raises(ValueError, match=r"other base weights .* by accept_mismatch of DiscriminatorRelevance"):
        load(path)
    with pytest.warns(UserWarning, match="other base weights"):
        load(path, accept_mismatch=True)
    longer = DiscriminatorModule(str(tmp_path / "moved"), layers=2, template="{criterion}|")
    longer.configure_model()
    with pytest.raises(ValueError, match=r"layers 1, now 2; template Identify.*, now \{criterion\}\|"):
        longer.on_load_checkpoint(read_checkpoint(Path(path)))


# -- by the command line ---------------------------------------------------------------------------------------------


def test_fit_and_validate_refuse_what_does_not_go_on(policy_args, tmp_path: Path) -> None:
    class_path = "rtt_lightning.Checkpoints"
    saving = f"--trainer.callbacks=[{{class_path: {class_path}, init_args: {{folder: {tmp_path}/ck}}}}]"
    main(policy_args("fit", saving, "--trainer.max_steps=1", "--trainer.enable_checkpointing=true"))
    alpha = ("--model.init_args.lora.alpha=64", f"--ckpt_path={tmp_path}/ck")
    for command in ("fit", "validate"):
        with pytest.raises(ValueError, match=r"lora.alpha 8.0, now 64.0"):
            main(policy_args(command, *alpha))
    with pytest.warns(UserWarning, match=r"lora.alpha 8.0, now 64.0"):
        main(policy_args("validate", *alpha, "--accept_mismatch=true", "--trainer.limit_val_batches=1"))
    checkpoint = read_checkpoint(tmp_path / "ck/step-00000001.ckpt")
    for name, content, message in (
        ("weights", {k: v for k, v in checkpoint.items() if k != "optimizer_states"}, "holds weights alone"),
        ("other", {"weights": torch.zeros(1)}, "is not a checkpoint of a training run"),
    ):
        torch.save(content, tmp_path / f"{name}.ckpt")
        with pytest.raises(ValueError, match=message):
            main(policy_args("fit", f"--ckpt_path={tmp_path}/{name}.ckpt"))
