"""A discriminator on disk: the checkpoint of a `DiscriminatorModule`, or the folder that `rtt export` makes from it.

The folder is a plain token classifier of `transformers` with its tokenizer and the file `RELEVANCE`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from rtt_lightning.lm.folders import write_model
from rtt_lightning.lm.loading import Lora, fill_weights
from rtt_lightning.lm.origin import check_origin
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.runtime.checkpoints import BASE_KEY, META, POINTER, read_checkpoint
from rtt_lightning.runtime.resume import find_checkpoint
from rtt_lightning.types.errors import UserError

CHECKPOINT_KEY = "relevance_config"
"""Key of the `RelevanceConfig`, as numbers and strings, in a checkpoint."""
PREFIX = "relevance."
"""Prefix of the `RelevanceModel` in a `DiscriminatorModule`."""
RELEVANCE = "relevance.json"
"""File in a folder with the rest of the `RelevanceConfig`."""
EARLIER = {"capitals": False}
"""What those had that do not say so."""


def save(model: RelevanceModel, folder: Path, dtype: torch.dtype) -> None:
    """Write a discriminator as a folder, adapters merged, and read it again; may round the network.

    Raises:
        UserError: As `write_model`.
    """
    config, capitals = model.config, model.first_type is not None

    def load_plain(_: None, source: str = config.model) -> Any:
        return build(replace(config, model=source, lora=None, capitals=capitals)).network

    model.tokenizer.save_pretrained(folder)  # is read again with the network
    write_model(lambda: model.network, load_plain, folder, dtype)
    relevance = {name: getattr(config, name) for name in ("template", "max_length", "one_pass")}
    relevance["capitals"] = capitals
    (folder / RELEVANCE).write_text(json.dumps(relevance, indent=2) + "\n")


def load(path: str, body: str | None = None, accept_mismatch: bool = False) -> RelevanceModel:
    """Load the frozen network of a checkpoint or folder, with the template and limits of its training.

    Args:
        path: The file or folder of a checkpoint, a folder of them for the newest, or a folder that `save` wrote.
        body: Folder or hub name of a checkpoint's body, if it has moved.
        accept_mismatch: Only warn of another body.

    Raises:
        UserError: If there is no discriminator at the path, or its body is not that of its training.
    """
    path = newest(path)
    config = read_config(path, body)
    model = build(config) if _is_folder(path) else restored(read_checkpoint(Path(path)), config, accept_mismatch)
    return model.requires_grad_(False).eval()


def restored(state: Mapping[str, Any], config: RelevanceConfig, accept_mismatch: bool = False) -> RelevanceModel:
    """The network of a loaded checkpoint.

    Raises:
        UserError: If the body is not that of its training, or the weights are not those that the network trains.
    """
    model = build(config)
    saved = asdict(config_of(state)) | state.get(BASE_KEY, {})
    check_origin(saved, asdict(config) | model.base(), accept_mismatch, "accept_mismatch of DiscriminatorRelevance")
    fill_weights(model, state["state_dict"], PREFIX)
    return model


def read_config(path: str, body: str | None = None) -> RelevanceConfig:
    """The configuration of a discriminator, see `load`; does not load its weights.

    Raises:
        UserError: If there is no discriminator at the path.
    """
    path = newest(path)
    if _is_folder(path):
        if body is not None:
            raise UserError(f"{path} is a whole discriminator: leave out model {body}, the body of a checkpoint")
        return RelevanceConfig(path, **EARLIER | json.loads((Path(path) / RELEVANCE).read_text()))
    file = Path(path) / META if Path(path).is_dir() else Path(path)
    if not file.is_file():
        found = f", a folder without {META} or {RELEVANCE}" if Path(path).is_dir() else ""
        raise UserError(
            f"no discriminator checkpoint at {path}{found}; give the .ckpt of a discriminator that `rtt fit` trained, "
            "or a folder that `rtt export` made of one"
        )
    try:
        state = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise UserError(f"{path} is not a discriminator's checkpoint; it cannot be read as one") from error
    if CHECKPOINT_KEY not in state:
        raise UserError(
            f"{path} is not a discriminator's checkpoint; it has no {CHECKPOINT_KEY!r}. Give one of `rtt fit` with a "
            "DiscriminatorModule, such as discriminators/minilm.yaml trains"
        )
    return config_of(state, body)


def config_of(state: Mapping[str, Any], body: str | None = None) -> RelevanceConfig:
    """The discriminator's configuration in a loaded checkpoint."""
    plain = state[CHECKPOINT_KEY]
    lora = plain["lora"] and Lora(**plain["lora"])
    return RelevanceConfig(**{**EARLIER, **plain, "lora": lora, "model": body or plain["model"]})


def newest(path: str) -> str:
    """The newest checkpoint of a folder that `Checkpoints` writes to; else the path itself."""
    folder = Path(path)
    is_one = (folder / POINTER).is_file() or (folder.name == POINTER and folder.is_file())
    return str(find_checkpoint(folder, begin=False)) if is_one else path


def _is_folder(path: str) -> bool:
    return (Path(path) / RELEVANCE).is_file()
