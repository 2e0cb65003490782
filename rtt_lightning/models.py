"""Loading of language models: a frozen base under fp32 adapters, or fp32 weights in full."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from rtt_lightning.hub import reading
from rtt_lightning.sharding import PACKED, decoder_layers, full, has_packed_weights

NEW_HEADS = ["score", "classifier"]
"""What `transformers` calls the head of a token classifier; it is new and trains in full."""


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on every linear layer of the body.

    Attributes:
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        nf4: Hold the frozen linear layers in 4 bits (QLoRA): a quarter of the memory of bf16, through `bitsandbytes`.
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
    """A model of a folder or hub name.

    Args:
        auto_class: One of the Auto classes of `transformers`.
        model: Folder or hub name.
        lora: What will train; without adapters all weights are fp32, as a step of 1e-6 vanishes in bf16.
        base_dtype: Of the weights that stay frozen under adapters, and of computing with those in NF4.
        trust_remote_code: Run model code that comes with the model.
        kwargs: Changes to its configuration.

    Raises:
        ValueError: If the folder or hub name cannot be reached, or 4 bits are asked for without `bitsandbytes`.
    """
    dtype = torch.float32 if lora is None else base_dtype
    if lora is not None and lora.nf4:
        kwargs["quantization_config"] = _nf4(base_dtype)
    with reading("a model", model, "config.json and weights"):
        loaded = auto_class.from_pretrained(model, dtype=dtype, trust_remote_code=trust_remote_code, **kwargs)
    if "quantization_config" in kwargs:
        _keep_differentiable(loaded)
    return loaded


def load_reference(model: str, dtype: torch.dtype, sharded: bool, trust_remote_code: bool = False) -> PreTrainedModel:
    """A frozen copy of what full training started from, which computes as the policy does: their KL begins at 0.

    Autocast multiplies by fp32 weights in ``dtype``, so matrices are held in it; between layers the policy computes in
    fp32, from embeddings and norms in fp32. A sharded policy computes in ``dtype`` throughout.
    """
    reference = load_model(AutoModelForCausalLM, model, Lora(), dtype if sharded else torch.float32, trust_remote_code)
    for layer in reference.modules():
        if isinstance(layer, nn.Linear) and layer is not reference.get_output_embeddings():  # may be the embedding too
            layer.weight.data = layer.weight.data.to(dtype)
    return reference.requires_grad_(False).eval()


def _keep_differentiable(model: nn.Module) -> None:
    """Have 4-bit layers keep their layout. On CPUs with bf16 arithmetic they take another one at the first forward in
    evaluation mode, rounded, without gradients, and for good: a policy that has sampled would train no further down.
    """
    from bitsandbytes.nn.modules import Linear4bit  # an extra

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False


def _nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise ValueError("lora.nf4 needs bitsandbytes, which is not installed: pip install 'rtt-lightning[quant]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["lm_head", *NEW_HEADS],
    )


def add_adapters(model: PreTrainedModel, lora: Lora, task: str) -> Any:
    """Wrap a model with fp32 LoRA adapters on the linear layers of its body; a new head trains in full."""
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=NEW_HEADS if task == "TOKEN_CLS" else None,
        task_type=task,
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # a new head came in the dtype of the frozen base
            parameter.data = parameter.data.float()
    return adapted


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Recompute the activations of each decoder layer in the backward pass: less memory, a third more time."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for layer in decoder_layers(model):  # `transformers` does it for layers in training mode only;
        layer.training = True  # what is within them stays in evaluation mode, without dropout


def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter under its Hugging Face name, LoRA updates added in, one full tensor at a time.

    Of a sharded model one tensor after the other is gathered: all processes must read to the end.
    """
    layers = _lora_layers(model)
    for name, parameter in model.named_parameters():
        if ".lora_" in name or ".original_module." in name:  # a head that trains in full stands in for the original
            continue
        owner = name.rpartition(".base_layer.")[0]
        weight = parameter.detach()
        if owner and name.endswith(".weight"):
            weight = _merged(layers[owner], weight)
        own = name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".modules_to_save.default", "")
        yield own, full(weight)


@contextmanager
def adapters_merged(model: Any) -> Iterator[None]:
    """Run with LoRA updates added into the weights: the fastest way to sample. A model without adapters is unchanged.

    Needs memory for a second copy of the adapted weights; on leaving, the very same base weights are back, so nothing
    drifts. A base in 4 bits stays as it is: its adapters run beside it, and no second copy is made.
    """
    if not isinstance(model, PeftModel) or has_packed_weights(model):
        yield
        return
    weights = [(layer, layer.get_base_layer().weight) for layer in _lora_layers(model).values()]
    originals = [weight.data for _, weight in weights]
    with torch.no_grad():
        for layer, weight in weights:
            weight.data = _merged(layer, weight)
    try:
        with model.disable_adapter():
            yield
    finally:
        for (_, weight), original in zip(weights, originals, strict=True):
            weight.data = original


def adapters_count(model: nn.Module) -> bool:
    """Whether a policy may differ from its reference: false while its adapters still add nothing. A collective."""
    if not isinstance(model, PeftModel):
        return True
    added = [full(parameter.detach()) for name, parameter in model.named_parameters() if ".lora_B." in name]
    return any(bool(weight.any()) for weight in added)


def _lora_layers(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _merged(layer: Any, weight: Tensor) -> Tensor:
    delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
    weight = _unpacked(layer.get_base_layer().weight, weight)
    return (weight.float() + delta).to(weight.dtype)


def _unpacked(parameter: Any, weight: Tensor) -> Tensor:
    """The weight itself, in the dtype it was packed from where ``parameter`` holds it in 4 bits."""
    if weight.dtype != PACKED:
        return weight
    from bitsandbytes.functional import dequantize_4bit  # an extra

    return dequantize_4bit(weight, parameter.quant_state)


def trainable_names(module: nn.Module) -> set[str]:
    """Names of the parameters that an optimiser moves: what a checkpoint holds."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def refuse_unusual_head(model: PreTrainedModel) -> None:
    """Refuse models whose logits are more than hidden states times the output embedding.

    Raises:
        ValueError: For a bias, a soft cap or a scale on the logits: our log-probs would not be the model's.
    """
    unusual = [
        name
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")
        if getattr(model.config, name, None) not in (None, 1.0)
    ]
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        unusual.append("a bias on the output embedding")
    if unusual:
        raise ValueError(
            f"{model.config.model_type} changes its logits by {', '.join(unusual)}, which the log-prob function does "
            "not compute; use a model with a plain linear head (Llama, Qwen, SmolLM)"
        )
