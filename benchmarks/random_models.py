"""Language models with random weights, and a tokenizer whose tokens are words: for machines without a model hub."""

from collections.abc import Iterator
from itertools import count, islice, product
from pathlib import Path
from string import ascii_lowercase

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
START, END = "<|im_start|>", "<|im_end|>"
TINY = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
QWEN3_06B = {
    "vocab_size": 151_936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
QWEN3_4B = {
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}


def save_random_model(folder: Path, shape: dict[str, int], seed: int = 0) -> str:
    """A Qwen3 of this shape with tied embeddings, in bf16, and its tokenizer; gives the folder's name."""
    tokenizer = word_tokenizer(shape["vocab_size"])
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    config = Qwen3Config(**shape, tie_word_embeddings=True, eos_token_id=end, pad_token_id=end, bos_token_id=None)
    Qwen3ForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def word_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Byte-level, with ``size`` tokens: the 256 bytes, which text is encoded as, and words, which are only sampled."""
    words = islice(_words(), size - 256 - 2)
    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"Ġ{word}" for word in words)]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, additional_special_tokens=[START])
    fast.chat_template = TEMPLATE
    return fast


def _words() -> Iterator[str]:
    """aa, ab, ... aaa, ..."""
    return ("".join(letters) for length in count(2) for letters in product(ascii_lowercase, repeat=length))
