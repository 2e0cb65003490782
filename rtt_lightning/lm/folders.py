"""Folders of models: written completely or not at all, and compared with the trained model."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from rtt_lightning.lm.loading import merged_weights
from rtt_lightning.lm.merging import is_wrapped
from rtt_lightning.lm.stored import in_dtype
from rtt_lightning.runtime.finite import all_finite
from rtt_lightning.types.errors import UserError

PROBE = 16
"""Tokens on which the trained and the exported model are compared."""
TOLERANCE = 1e-3
"""Largest mean difference of logits relative to their size: fp32 rounding gives a hundredth of it."""


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write to. It gets that name when it is complete, and is removed on failure.

    Its files get the mode of any new file; safetensors would give them to their owner alone.
    """
    partial = folder.absolute().with_name(f"{folder.absolute().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed export
    partial.mkdir(parents=True)
    try:
        yield partial
        (partial / "README.md").touch()
        usual = (partial / "README.md").stat().st_mode
        for path in partial.iterdir():
            if path.is_file():
                path.chmod(usual)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@torch.no_grad()
def write_model(make: Callable[[], Any], load: Callable[..., Any], folder: Path, dtype: torch.dtype) -> None:
    """Write a whole model, adapters merged, and compare it with the trained one: first in fp32, then as written.

    At most two models in fp32 are held at a time.

    Args:
        make: Makes the trained model, with adapters or without.
        load: Loads the model that it was trained from, or one from another folder, without adapters.
        folder: To write.
        dtype: See `in_dtype`.

    Raises:
        UserError: If the written model computes something else, or its weights do not fit into ``dtype``.
    """
    trained = make()
    plain = load(None) if is_wrapped(trained) else trained
    expected, own = _logits(trained), dict(merged_weights(plain))
    for name, weight in merged_weights(trained):
        own[name].copy_(weight)
    del trained, own
    _compare(expected, plain, "the merged model")
    for name, tensor in plain.state_dict(keep_vars=True).items():
        tensor.data = in_dtype(plain, name, tensor.data, dtype)
        if tensor.requires_grad and not all_finite([tensor]):
            raise UserError(f"{name} is not finite in {dtype}; give --dtype bfloat16 or float32")
    _save(plain, folder)
    expected = _logits(plain.float())
    del plain
    _compare(expected, load(None, str(folder)), "the exported model, read again,")


def _save(model: PreTrainedModel, folder: Path) -> None:
    """Save as `transformers` does, also generation configs of the base that it loads but refuses to save."""
    if not model.can_generate():
        model.save_pretrained(folder)
        return
    given: Any = model.generation_config
    model.generation_config = GenerationConfig()
    model.save_pretrained(folder)
    sampling = (given.temperature, given.top_p, given.top_k, given.min_p, given.typical_p)
    if given.do_sample is None and any(value is not None for value in sampling) and given.temperature != 0:
        given.do_sample = True  # as its sampling settings require
    given.to_json_file(folder / "generation_config.json", use_diff=True)
    model.generation_config = given


@torch.no_grad()
def write_adapters(policy: Any, load: Callable[[], Any], folder: Path, dtype: torch.dtype, base: str) -> None:
    """Write adapters as a PEFT folder, and compare them, on the base, with the trained policy.

    Args:
        policy: With adapters.
        load: Loads the base model.
        folder: To write.
        dtype: Of the adapters.
        base: Folder or hub name of the base model, which the PEFT folder names by an absolute path.
    """
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype).float()
    path = Path(base)
    policy.peft_config["default"].base_model_name_or_path = str(path.resolve()) if path.is_dir() else base
    weights = {name: weight.to(dtype) for name, weight in policy.state_dict().items() if ".lora_" in name}
    policy.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
    expected = _logits(policy)
    del policy
    from peft import PeftModel

    _compare(expected, PeftModel.from_pretrained(load(), folder), "adapters, read again,")


@torch.no_grad()
def _logits(model: Any) -> Tensor:
    """Logits of a few tokens."""
    size = model.config.get_text_config().vocab_size
    ids = torch.randint(size, (1, PROBE), generator=torch.Generator().manual_seed(0))
    return model.eval()(input_ids=ids).logits.float()


def _compare(expected: Tensor, written: Any, what: str) -> None:
    """Raise if a written model does not compute the same as the trained one.

    Raises:
        UserError: If its logits differ from the expected ones by more than rounding.
    """
    error, size = float((expected - _logits(written)).abs().mean()), float(expected.square().mean().sqrt())
    if not error <= TOLERANCE * size:
        raise UserError(
            f"{what} of {written.config.model_type!r} would not compute what was trained: logits of {PROBE} tokens "
            f"differ by {error:.1e} where {size:.1e} is usual. Nothing was exported: try --merge false, which keeps "
            "adapters apart, or true; and please report the type of the model"
        )
