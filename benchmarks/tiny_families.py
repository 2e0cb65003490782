"""Tiny random models of every family that `transformers` has a causal language model for."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

LARGEST = 30_000_000
"""Parameters of a model that still counts as tiny; those of other sizes have parts that no name below makes small."""
VOCABULARY = 258
SMALL: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.2},
    **{"hidden_size": 32, "n_embd": 32, "d_model": 32, "word_embed_proj_dim": 32},
    **{"intermediate_size": 64, "ffn_dim": 64, "decoder_ffn_dim": 64, "n_inner": 64, "ffn_hidden_size": 64},
    **{"num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "decoder_layers": 2},
    **{"num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4},
    **{"attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rotary_dim": 4, "expansion_ratio": 2},
    **{"max_position_embeddings": 256, "n_positions": 256, "max_seq_len": 256, "sliding_window": 8},
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    **{"num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "n_group": 1},
    **{"topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1, "moe_intermediate_size": 32},
    **{"shared_expert_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32},
    **{"shared_intermediate_size": 64, "partial_rotary_factor": 0.5, "rotary_pct": 0.5},
    **{"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY},
    **{"index_n_heads": 2, "index_head_dim": 8, "index_topk": 64, "state_size": 8, "lru_width": 32, "ssm_cfg": {}},
    **{"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2},
}
LATER = {"num_key_value_heads": 4}
"""Families that compress keys have as many heads of them as of queries."""
GEMMA4_FAMILIES = ("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text")
GEMMA4: dict[str, Any] = {
    **{"layer_types": ["sliding_attention", "full_attention"], "global_head_dim": 8, "num_kv_shared_layers": 0},
    **{"final_logit_softcapping": None},
}
OTHER: dict[str, dict[str, Any]] = {
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_groups": 1},
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0},
    **dict.fromkeys(GEMMA4_FAMILIES, GEMMA4),
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 4, "head_dim": 16, "expand": 2, "n_groups": 1},
    "prophetnet": {"num_decoder_layers": 2, "num_encoder_layers": 2},
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 8},
    "zaya": {"num_experts_per_tok": 1},
}
"""What the names above do not make small, or not so that it fits together."""
WITHOUT = {
    **{family: {"head_dim"} for family in GEMMA4_FAMILIES},
    "falcon": {"head_dim"},
    "prophetnet": {"num_hidden_layers"},
    "xlnet": {"max_position_embeddings"},
    "xlstm": {"v_head_dim"},
}
"""What a configuration has, and does not let anyone set."""


def tiny_model(family: str) -> Any:
    """A random model in evaluation mode, whose weights and biases all count.

    Raises:
        Exception: Of any kind, by `transformers`, for a family that cannot be made tiny by the names above alone.
    """
    *others, last = _configurations(family)
    for config in others:
        try:
            return _model(config)
        except (RuntimeError, ValueError):
            continue
    return _model(last)


def _configurations(family: str) -> Iterator[Any]:
    default = AutoConfig.for_model(family)
    text = getattr(default, "text_config", None) or default  # of a composite family
    for more in ({}, LATER):
        small = _known(text, family) | {name: value for name, value in more.items() if _has(text, name)}
        yield AutoConfig.for_model(family, **(small if text is default else {"text_config": small}))


def _known(config: Any, family: str) -> dict[str, Any]:
    without = WITHOUT.get(family, set()) | ({"head_dim"} if hasattr(config, "qk_rope_head_dim") else set())
    return {k: v for k, v in SMALL.items() if k not in without and _has(config, k)} | OTHER.get(family, {})


def _has(config: Any, name: str) -> bool:
    try:
        return hasattr(config, name)
    except ValueError:  # one that differs by layer
        return True


def _model(config: Any) -> Any:
    config._experts_implementation = "eager"
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    if count > LARGEST:
        raise MemoryError(f"{count / 1e6:,.0f} M parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases and norms start at constants
                parameter.add_(0.2 * torch.randn_like(parameter))
        model(torch.arange(3, 9)[None], use_cache=False)
    return model
