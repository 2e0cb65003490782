"""Tokenizers of some hundred tokens, made in no time: bytes as in GPT-2, and pieces as in Llama 2."""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(
    *tokens: str, special: bool = True, end: str = "<|end|>", template: str | None = None
) -> PreTrainedTokenizerFast:
    """A token per byte, an end token, and further tokens."""
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end)
    added = [AddedToken(token, special=special, normalized=False) for token in tokens]
    tokenizer.add_tokens(added, special_tokens=special)  # pyright: ignore[reportArgumentType]
    tokenizer.chat_template = template
    return tokenizer


def sentence_piece(words: Sequence[str], strip: bool = True, template: str | None = None) -> PreTrainedTokenizerFast:
    """A piece per word, each with its space before it, and bytes for everything else.

    Args:
        words: What has pieces.
        strip: Whether the decoder takes the first space away, as Llama 2's does and Gemma's does not.
        template: Chat template.
    """
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    letters = sorted({letter for word in words for letter in word})
    merges, pieces = [], pieces + letters
    for word in words:
        merges += [(f"▁{word[:end]}", word[end]) for end in range(len(word))]
        pieces += [f"▁{word[: end + 1]}" for end in range(len(word))]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strip else [])])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return tokenizer
