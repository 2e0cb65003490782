"""Loading language models: a frozen base under fp32 adapters, or full fp32 weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.merging import adapters_count, adapters_merged, merged_weights
from rtt_lightning.runtime.checkpoints import check_fits
from rtt_lightning.runtime.hub import reading
from rtt_lightning.types.errors import UserError

__all__ = [
    "Lora",
    "adapters_count",
    "adapters_merged",
    "add_adapters",
    "checkpoint_activations",
    "fill_weights",
    "load_model",
    "load_reference",
    "merged_weights",
    "refuse_unusual_head",
    "trainable_names",
]
NEW_HEADS = ["score", "classifier"]
"""Names in `transformers` of the head of a token classifier, which is new and trains in full."""
CHANGES_LOGITS = (
    "final_logit_softcapping",
    "lm_head_multiplier",
    "logit_scale",
    "logits_mup_width_multiplier",
    "logits_scaling",
    "logits_soft_cap",
)
"""Names in configurations of `transformers` for soft caps and scales of logits."""


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on every linear layer of the body.

    Attributes:
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        nf4: Hold the frozen linear layers in 4 bits (QLoRA), by `bitsandbytes`: a quarter of the memory of bf16.
    """

    rank: int = 16
    alpha: float = 32.0
    nf4: bool = False


def load_model(
    auto_class: Any,
    model: str,
    lora: Lora | None,
    base_dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
    **kwargs: Any,
) -> Any:
    """Load a model; on the meta device one without weights, from the config alone.

    Args:
        auto_class: One of the Auto classes of `transformers`.
        model: Folder or hub name.
        lora: Adapters to train; without them all weights are fp32, as a step of 1e-6 vanishes in bf16.
        base_dtype: Of the weights frozen under adapters, and of computing with those in NF4.
        trust_remote_code: Run code that comes with the model.
        kwargs: Changes to its configuration.

    Raises:
        UserError: If the model cannot be read, or 4 bits are requested without `bitsandbytes`.
    """
    dtype = torch.float32 if lora is None else base_dtype
    if torch.get_default_device().type == "meta":
        with reading("the shape of a model", model, "config.json"):
            config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code, **kwargs)
        return auto_class.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code).eval()
    if lora is not None and lora.nf4:
        kwargs["quantization_config"] = _nf4(base_dtype)
    with reading("a model", model, "config.json and weights"):
        loaded = auto_class.from_pretrained(model, dtype=dtype, trust_remote_code=trust_remote_code, **kwargs)
    if "quantization_config" in kwargs:
        _keep_differentiable(loaded)
    return loaded


def load_reference(model: str, dtype: torch.dtype, sharded: bool, trust_remote_code: bool = False) -> Any:
    """A frozen copy of the start of full training that computes as the policy does, so that their KL starts at 0.

    Autocast multiplies by fp32 weights in ``dtype``, so matrices are held in it; between layers the policy computes in
    fp32, with embeddings and norms in fp32. A sharded policy computes in ``dtype`` throughout.
    """
    reference = load_model(AutoModelForCausalLM, model, Lora(), dtype if sharded else torch.float32, trust_remote_code)
    for layer in reference.modules():
        if isinstance(layer, nn.Linear) and layer is not reference.get_output_embeddings():  # may be the embedding too
            layer.weight.data = layer.weight.data.to(dtype)
    use_own_kernels(reference)
    return reference.requires_grad_(False).eval()


def _keep_differentiable(model: nn.Module) -> None:
    """Make 4-bit layers keep their layout. On CPUs with bf16 arithmetic the first forward in evaluation mode would
    change it for good to a rounded one without gradients: a policy that has sampled would not train below it.
    """
    from bitsandbytes.nn.modules import Linear4bit  # an extra

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False


def _nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise UserError("lora.nf4 needs bitsandbytes, which is not installed: pip install 'rtt-lightning[quant]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["lm_head", *NEW_HEADS],
    )


def add_adapters(model: PreTrainedModel, lora: Lora, task: str) -> Any:
    """Wrap a model with fp32 LoRA adapters on the linear layers of its body; a new head trains in full."""
    from peft import LoraConfig, get_peft_model  # slow, see `is_wrapped`

    from rtt_lightning.lm.adapters import use_few_operations

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=NEW_HEADS if task == "TOKEN_CLS" else None,
        task_type=task,
    )
    adapted = get_peft_model(model, config)
    use_few_operations(adapted)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # a new head came in the dtype of the frozen base
            parameter.data = parameter.data.float()
    return adapted


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Recompute the activations of each decoder layer in the backward pass: less memory, a third more time.

    `transformers` does so only for layers in training mode, where many apply dropout: ours run in evaluation mode.

    Raises:
        UserError: For a model without such layers.
    """
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(f"{type(model).__name__} has no layers to recompute: set model.gradient_checkpointing to false")
    for layer in layers:
        layer.training = True
        layer._gradient_checkpointing_func = partial(_recomputed, layer)


def _recomputed(layer: nn.Module, forward: Callable[..., Any], *args: Any) -> Any:
    def run(*args: Any) -> Any:
        layer.training = False
        try:
            return forward(*args)
        finally:
            layer.training = True

    return checkpoint(run, *args, use_reentrant=False)


def trainable_names(module: nn.Module) -> set[str]:
    """Names of the trainable parameters, which a checkpoint holds."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def fill_weights(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Load the weights that a LightningModule trained and kept under this prefix.

    Raises:
        UserError: If they are not exactly the network's trainable weights.
    """
    weights = {name.removeprefix(prefix): weight for name, weight in state.items()}
    check_fits(weights, trainable_names(module))
    module.load_state_dict(weights, strict=False)


def refuse_unusual_head(model: PreTrainedModel) -> None:
    """Raise if the configuration says that logits are more than hidden states times the output embedding.

    `rtt_lightning.lm.selfcheck` finds other cases, but small logits would hide a soft cap from it.

    Raises:
        UserError: For a bias, a soft cap or a scale on the logits: our log-probs would not be the model's.
    """
    text = model.config.get_text_config(decoder=True)
    unusual = [name for name in CHANGES_LOGITS if getattr(text, name, None) not in (None, 1.0)]
    head: Any = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        unusual.append("something in place of one output embedding")
    elif getattr(head, "bias", None) is not None:
        unusual.append("a bias on the output embedding")
    if unusual:
        raise UserError(
            f"{model.config.model_type} changes its logits by {', '.join(unusual)}, which the log-prob function does "
            "not compute; use a model with a plain linear head (Llama, Qwen, SmolLM)"
        )
