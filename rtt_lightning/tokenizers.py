"""What we need of a tokenizer beyond `transformers`: the exact bytes of each token, and rendered prompts."""

import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rtt_lightning.functional.alignment import decode_with_offsets
from rtt_lightning.hub import reading
from rtt_lightning.types import Message, Span


@cache
def load_tokenizer(model: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Tokenizer of a model folder or hub name; the same object each time, as loading takes a second: not to be changed.

    Raises:
        ValueError: If the folder or hub name cannot be reached.
    """
    with reading("a tokenizer", model, "tokenizer.json"):
        return AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[int, ...]:
    """Token ids of a conversation in the model's chat template, up to where the response begins.

    Raises:
        ValueError: If the tokenizer has no chat template, or one that refuses the conversation.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"{tokenizer.name_or_path!r} has no chat template, so a conversation cannot be rendered; "
            "use an instruct model or save a chat_template.jinja beside its tokenizer"
        )
    try:
        rendered = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of the roles {roles}: {error}; "
            "change its messages, or use a model whose template takes them"
        ) from error
    return tuple(tokenizer(str(rendered), add_special_tokens=False)["input_ids"])


class TokenBytes:
    """The bytes that each token id stands for; empty for special tokens.

    Raises:
        ValueError: If the tokenizer is neither byte-level (Llama 3, Qwen, SmolLM, GPT-2) nor SentencePiece with byte
            fallback (Llama 2, Gemma), so that its tokens have no exact bytes.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        decoder = json.dumps(json.loads(_backend(tokenizer).to_str())["decoder"])
        if "ByteLevel" in decoder:
            self._to_bytes = _byte_level
        elif "ByteFallback" in decoder:
            self._to_bytes = _byte_fallback
        else:
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no byte-level decoder, got {decoder[:80]}; "
                "use a byte-level BPE (Llama 3, Qwen, SmolLM) or a SentencePiece model with byte fallback"
            )
        self._tokenizer = tokenizer
        self._added = {
            index: b"" if token.special else token.content.encode()
            for index, token in tokenizer.added_tokens_decoder.items()
        }

    def __call__(self, token_id: int) -> bytes:
        """Bytes of one token id; an id beyond the vocabulary (padded embeddings) has none."""
        if token_id in self._added:
            return self._added[token_id]
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        return self._to_bytes(token) if isinstance(token, str) else b""

    def decode(self, token_ids: Sequence[int]) -> tuple[str, tuple[Span, ...]]:
        """Text of a response and the characters of each of its tokens, see `decode_with_offsets`."""
        return decode_with_offsets([self(token_id) for token_id in token_ids])


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    if not tokenizer.is_fast:
        raise ValueError(f"{tokenizer.name_or_path!r} has no fast tokenizer; save one as tokenizer.json beside it")
    return tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """The table of GPT-2's byte-level BPE: printable bytes stand for themselves, the others for U+0100 onwards."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def _byte_level(token: str) -> bytes:
    table = _byte_of_character()
    return bytes(table[character] for character in token)


def _byte_fallback(token: str) -> bytes:
    if match := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        return bytes([int(match[1], 16)])
    return token.replace("▁", " ").encode()
