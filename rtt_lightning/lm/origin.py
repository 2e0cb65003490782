"""What a checkpoint continues: base model, adapters, tokenizer. Its weights alone do not tell."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

from rtt_lightning.lm.fingerprint import LOCAL, fingerprint
from rtt_lightning.types.errors import UserError

UNIMPORTANT = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache"}
"""Fields of a configuration that change when the same weights are saved again."""
PLACES = {"model", "folder"}
"""Not compared: a folder may have moved."""
DIGESTS = {"fingerprint": "base weights", "tokenizer": "tokenizer", "chat_template": "chat template"}


def adapted_layers(model: nn.Module) -> list[str]:
    """The kinds of layers that have adapters."""
    from peft.tuners.lora import LoraLayer  # slow, see `is_wrapped`

    return sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, LoraLayer)})


def base_of(model: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What a checkpoint keeps to recognise the model that it continues, wherever it is; call it once that was loaded.

    Args:
        model: Folder or hub name.
        tokenizer: The model's.
    """
    config = cached_file(model, "config.json", **LOCAL)
    content = json.loads(Path(config).read_text(encoding="utf-8")) if config else {}
    return {
        "folder": Path(model).is_dir(),
        "fingerprint": fingerprint(model),
        "tokenizer": tokenizer_digest(tokenizer),
        "config": {name: value for name, value in content.items() if name not in UNIMPORTANT},
    }


def template_and_targets(tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> dict[str, Any]:
    """What a policy adds to `base_of`: its chat template(s) and the layers with adapters."""
    return {"chat_template": _digest(json.dumps(tokenizer.chat_template)), "targets": adapted_layers(model)}


def check_origin(
    saved: Mapping[str, Any], now: Mapping[str, Any], accept: bool, flag: str = "--accept_mismatch true"
) -> None:
    """Raise if a checkpoint continues something else; with ``accept``, only name the differences.

    Args:
        saved: From the checkpoint; missing parts are not compared.
        now: Of this run.
        accept: Warn only.
        flag: What sets ``accept``, for the message.

    Raises:
        UserError: With each difference.
    """
    found = differences(saved, now)
    if not found:
        return
    message = f"the checkpoint continues something else than this run has: {'; '.join(found)}"
    if not accept:
        raise UserError(
            f"{message}. Give the model and adapters that it was trained with, or accept the differences by {flag}"
        )
    rank_zero_warn(message)


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences, in words."""
    found = []
    for name in [name for name in saved if name in now and name not in PLACES and saved[name] != now[name]]:
        then, today = saved[name], now[name]
        if name in DIGESTS:
            if None in (then, today):  # not known
                continue
            found.append(f"other {DIGESTS[name]} ({saved.get('model')}, now {now.get('model')})")
        elif isinstance(then, Mapping) and isinstance(today, Mapping):
            found += [
                f"{name}.{key} {_shown(then.get(key))}, now {_shown(today.get(key))}"
                for key in sorted(then.keys() | today.keys())
                if then.get(key) != today.get(key)
            ]
        else:
            found.append(f"{name} {_shown(then)}, now {_shown(today)}")
    return found


def _shown(value: Any) -> str:
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) < 80 else f"{text[:80]}…"


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Digest of everything that makes token ids from text, without padding and truncation, which change with use."""
    backend: Any = tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]
    return _digest(backend.to_str().partition('"added_tokens"')[2])


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
