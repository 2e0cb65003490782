"""Tiny random models of families whose weights are not all matrices of linear layers."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 300,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
ROUTED: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
GROUPED: dict[str, Any] = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, **ROUTED}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "qwen3_moe": {"num_experts": 4, "head_dim": 8, **ROUTED},
    "qwen2_moe": {"num_experts": 4, "shared_expert_intermediate_size": 16, **ROUTED},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8, "layer_types": ["full_attention"] * 2, **ROUTED},
    "glm4_moe": {"head_dim": 8, **GROUPED},
    "deepseek_v3": GROUPED | LATENT,
}


def tiny(family: str, **changes: Any) -> Any:
    """A random model in which no two weights or buffers of a kind are alike."""
    config = transformers.AutoConfig.for_model(family, **SIZES | FAMILIES.get(family, {}) | changes)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("bias"):
                buffer.normal_()  # of a router
    return model.eval()


def saved(family: str, folder: Path, **changes: Any) -> str:
    """A folder with such a model and a tokenizer of single bytes."""
    tiny(family, **changes).save_pretrained(folder)
    alphabet = {character: index for index, character in enumerate(["<s>", "</s>", *sorted(ByteLevel.alphabet())])}
    tokenizer = Tokenizer(BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return str(folder)
