"""`rtt export`: writes a checkpoint as a Hugging Face folder that plain `transformers` loads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from rtt_lightning.commands.cards import discriminator_card, policy_card
from rtt_lightning.datamodules import RubricDataModule
from rtt_lightning.engines.base import end_token_ids
from rtt_lightning.lm.fingerprint import fingerprint
from rtt_lightning.lm.folders import appearing, write_adapters, write_model
from rtt_lightning.lm.loading import Lora, add_adapters, fill_weights, load_model
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.modules.discriminator import KINDS_KEY
from rtt_lightning.modules.model import POLICY_KEY
from rtt_lightning.relevance.discriminator.checkpoint import CHECKPOINT_KEY, config_of, restored, save
from rtt_lightning.runtime.checkpoints import BASE_KEY, read_checkpoint
from rtt_lightning.runtime.hub import means_a_folder
from rtt_lightning.runtime.resume import find_checkpoint
from rtt_lightning.runtime.terminal import quieten
from rtt_lightning.types.errors import UserError

Dtype = Literal["bfloat16", "float16", "float32"]


def command(name: str, args: Sequence[str]) -> None:
    """`rtt export`."""
    quieten()
    auto_cli(export, args=[*args], prog=f"rtt {name}", as_positional=True)


def export(
    checkpoint: Path,
    folder: Path,
    merge: bool = True,
    dtype: Dtype | None = None,
    base: str | None = None,
    trust_remote_code: bool = False,
    quality: Path | None = None,
) -> None:
    """Write a checkpoint of a policy or a discriminator as a Hugging Face folder.

    The folder appears only when complete: after it was read again and computed the same as the trained model.

    Args:
        checkpoint: A ``.ckpt`` file or folder, or a folder of them, for the newest.
        folder: To write; must be new or empty.
        merge: Merge the adapters into the weights; false writes a policy's adapters as a PEFT folder.
        dtype: Of the weights, and in the config; null is bfloat16 for a model, which rounds away changes of less than
            1/256 of a weight, and float32 for adapters.
        base: Folder or hub name of the model that was trained from, if it has moved.
        trust_remote_code: Run code that comes with that model, as in training.
        quality: For the card of a discriminator: the JSON file that `rtt validate` wrote about it.

    Raises:
        UserError: If the checkpoint is not a policy's or discriminator's, the folder is not empty, the base is gone or
            another model, weights are not finite, or the export computes something else.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; give a new folder")
    state = read_checkpoint(Path(find_checkpoint(checkpoint, begin=False) or ""))
    key = next((key for key in (POLICY_KEY, CHECKPOINT_KEY) if key in state), None)
    if key is None:
        raise UserError(f"{checkpoint} is no checkpoint of a policy or a discriminator of rtt-lightning")
    if key == CHECKPOINT_KEY and not merge:
        raise UserError("a discriminator is exported merged only: its head trains in full; leave out --merge false")
    if key == CHECKPOINT_KEY and trust_remote_code:
        raise UserError("a discriminator is trained without code of its model's; leave out --trust_remote_code")
    measured = read_quality(quality) if quality else None
    if key == POLICY_KEY and quality:
        raise UserError("a quality file is about a discriminator; leave out --quality")
    base = _located(state, state[key]["model"], base)
    name, updates = folder.absolute().name, state["global_step"]
    with appearing(folder) as partial:
        if key == POLICY_KEY:
            apart = not merge and bool(state[key]["lora"])
            _write_policy(state, partial, base, apart, dtype, trust_remote_code)
            card = policy_card(name, base, updates, not apart, trust_remote_code)
        else:
            config = config_of(state, base)
            model = restored(state, config, accept_mismatch=True)
            _check_same(state, base)
            save(model, partial, getattr(torch, dtype or "bfloat16"))
            about = state.get(RubricDataModule.__qualname__), state.get(KINDS_KEY, ())
            card = discriminator_card(name, base, updates, model, *about, measured)
        (partial / "README.md").write_text(card)
    print(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def read_quality(path: Path) -> dict[str, Any]:
    """What `rtt validate` wrote about a discriminator.

    Raises:
        UserError: If it is anything else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); give the .json that `rtt validate` wrote") from error
    if not isinstance(found, dict) or "overall" not in found:
        raise UserError(f"{path} says nothing of a discriminator; give the .json that `rtt validate` wrote of one")
    return found


def _write_policy(
    state: Mapping[str, Any], folder: Path, base: str, apart: bool, dtype: Dtype | None, trust_remote_code: bool
) -> None:
    """Write its weights, adapters ``apart``, and its tokenizer."""
    config = state[POLICY_KEY]
    lora = Lora(**config["lora"]) if config["lora"] else None
    tokenizer = load_tokenizer(base, trust_remote_code)

    def load(lora: Lora | None, source: str = base) -> Any:
        model = load_model(AutoModelForCausalLM, source, lora, trust_remote_code=trust_remote_code)
        _end_as_in_training(model, tokenizer)
        return model

    def trained() -> Any:
        policy = load(lora)
        _check_same(state, base)
        if lora:
            policy = add_adapters(policy, lora, "CAUSAL_LM")
        fill_weights(policy, state["state_dict"], "model.")
        return policy

    if apart:
        write_adapters(trained(), lambda: load(lora), folder, getattr(torch, dtype or "float32"), base)
    else:
        write_model(trained, load, folder, getattr(torch, dtype or "bfloat16"))
    tokenizer.save_pretrained(folder)


def _end_as_in_training(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make generation stop where responses ended in training: also at the chat template's end of turn."""
    given, ends = model.generation_config.eos_token_id, end_token_ids(model, tokenizer)
    if ends != frozenset(given if isinstance(given, list) else [given]):
        model.generation_config.eos_token_id = sorted(ends)


def _located(state: Mapping[str, Any], model: str, base: str | None) -> str:
    """Where the model that a checkpoint continues is: ``base``, or else where it was.

    Raises:
        UserError: If it was a folder and is gone, or ``base`` is no folder or another model.
    """
    where, known = base or model, state.get(BASE_KEY) or {}
    folder = means_a_folder(where) or (base is None and known.get("folder", False))
    if folder and not Path(where).is_dir():
        raise UserError(f"the model that was trained from is not at {where}: say where it is now with --base FOLDER")
    if base and not known.get("fingerprint"):
        print(f"the checkpoint does not say which weights it was trained from: {base} is taken for them")
    return where


def _check_same(state: Mapping[str, Any], base: str) -> None:
    """Raise if the base, which is loaded by now, is not the model that was trained from."""
    expected, found = (state.get(BASE_KEY) or {}).get("fingerprint"), fingerprint(base)
    if expected and found != expected:
        raise UserError(
            f"{base} is not the model that was trained from: the fingerprint of its weights is {found}, that of the "
            f"checkpoint {expected}; give the same model with --base"
        )
