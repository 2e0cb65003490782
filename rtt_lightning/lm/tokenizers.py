"""What we need of a tokenizer beyond `transformers`: rendered conversations, and the exact bytes of each token."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from inspect import signature
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rtt_lightning.functional.alignment import decode_with_offsets
from rtt_lightning.runtime.hub import reading
from rtt_lightning.types import Message, Span
from rtt_lightning.types.errors import UserError

TemplateArguments = Mapping[str, Any]
"""Further arguments of a chat template by name, such as ``{"enable_thinking": False}``."""

_PARAMETERS = signature(PreTrainedTokenizerBase.apply_chat_template).parameters
OWN_ARGUMENTS = {"messages", *_PARAMETERS} - {"tools", "documents"}
"""Arguments that rendering sets itself."""
BROKEN = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What a template may raise; `TemplateError` if it rejects a conversation."""
QUESTION, REPLY = {"role": "user", "content": "question"}, {"role": "assistant", "content": "rtt-reply"}


@cache
def load_tokenizer(model: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Tokenizer of a model folder or hub name; cached, as loading takes a second: do not change it.

    Raises:
        UserError: If it cannot be read.
    """
    with reading("a tokenizer", model, "tokenizer.json"):
        return AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], arguments: TemplateArguments | None = None
) -> tuple[int, ...]:
    """Token ids of a conversation in the model's chat template, up to where the response begins.

    Args:
        tokenizer: Has the template.
        messages: The conversation.
        arguments: Further arguments of the template.

    Raises:
        UserError: If there is no chat template, or it rejects the conversation, leaves out what a user says or does not
            read the arguments.
    """
    arguments = arguments or {}
    if not tokenizer.chat_template:
        raise UserError(
            f"{tokenizer.name_or_path!r} has no chat template, so a conversation cannot be rendered; "
            "use an instruct model or save a chat_template.jinja beside its tokenizer"
        )
    _check_arguments(tokenizer, arguments)
    rendered = _rendered(tokenizer, messages, add_generation_prompt=True, **arguments)
    words = _words(rendered)
    for message in messages:
        if message["role"] == "user" and _words(message["content"]) not in words:
            raise UserError(
                f"the chat template of {tokenizer.name_or_path!r} leaves out what a user says, "
                f"{message['content'][:60]!r}: it renders {rendered[-120:]!r}; use a model whose template takes texts "
                "as content, or save another chat_template.jinja beside its tokenizer"
            )
    return tuple(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def without_embedding(tokenizer: PreTrainedTokenizerBase, token_id: int, rows: int) -> str:
    """The message about a token beyond the ``rows`` of its model's embedding."""
    return (
        f"{tokenizer.convert_ids_to_tokens(token_id)!r} has id {token_id}, and the embedding {rows} rows. It was added "
        f"to the tokenizer of {tokenizer.name_or_path!r} alone: call `model.resize_token_embeddings(len(tokenizer))` "
        "and save the model, or use a tokenizer without it"
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that follows an assistant's turn in the chat template; ``None`` without one.

    It closes the turn, or else begins the next turn.
    """
    if not tokenizer.chat_template:
        return None
    for conversation in ([QUESTION, REPLY], [QUESTION, REPLY, QUESTION]):
        try:
            _, _, behind = _rendered(tokenizer, conversation).partition(REPLY["content"])
        except ValueError:  # the template rejects such a conversation
            continue
        ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"]
        if ids and ids[0] in tokenizer.added_tokens_decoder:
            return ids[0]
    return None


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], **arguments: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments))
    except TemplateSyntaxError as error:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} is broken at line {error.lineno}: {error.message}"
        ) from error
    except BROKEN as error:
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of the roles {roles}: {error}; "
            "change its messages, or use a model whose template takes them"
        ) from error


def _check_arguments(tokenizer: PreTrainedTokenizerBase, arguments: TemplateArguments) -> None:
    template = str(tokenizer.chat_template)
    for name in arguments:
        if name in OWN_ARGUMENTS:
            raise UserError(f"data.chat_template_kwargs sets {name!r}, which rendering sets itself; leave it out")
        if not re.search(rf"\b{re.escape(name)}\b", template):
            near = get_close_matches(name, set(re.findall(r"\w+", template)))
            raise UserError(
                f"data.chat_template_kwargs sets {name!r}, which the chat template of {tokenizer.name_or_path!r} does "
                "not read" + (f"; did you mean {near[0]!r}?" if near else "; leave it out")
            )


def _words(text: str) -> str:
    return " ".join(text.split())


class TokenBytes:
    """The bytes of each token id; empty for special tokens.

    Attributes:
        special: Spellings of special tokens, by id.

    Raises:
        UserError: If tokens have no exact bytes: the tokenizer is neither byte-level (Llama 3, Qwen, SmolLM, GPT-2) nor
            SentencePiece with byte fallback (Llama 2, Gemma).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        decoder = json.loads(_backend(tokenizer).to_str())["decoder"]
        steps = (decoder or {}).get("decoders", [decoder])
        kinds = {step["type"] for step in steps if step}
        if "ByteLevel" in kinds:
            self._to_bytes = _byte_level
        elif "ByteFallback" in kinds:
            self._to_bytes = _byte_fallback
        else:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no byte-level decoder, got "
                f"{json.dumps(decoder)[:80]}; "
                "use a byte-level BPE (Llama 3, Qwen, SmolLM) or a SentencePiece model with byte fallback"
            )
        # SentencePiece puts a space before the first word; the decoders of Llama 2 and Mistral remove it.
        self._spaces = sum(step["start"] for step in steps if step["type"] == "Strip" and step["content"] == " ")
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self.special = {index: token.content for index, token in added if token.special}
        self._added = {index: b"" if token.special else token.content.encode() for index, token in added}

    def __call__(self, token_id: int) -> bytes:
        """Bytes of one token id; none beyond the vocabulary (padded embeddings)."""
        if token_id in self._added:
            return self._added[token_id]
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        return self._to_bytes(token) if isinstance(token, str) else b""

    def decode(self, token_ids: Sequence[int]) -> tuple[str, tuple[Span, ...]]:
        """Text of a response and the characters of each of its tokens, see `text`."""
        return self.text([self(token_id) for token_id in token_ids])

    def text(self, tokens: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
        """Text of a response from the bytes of its tokens, and the characters of each, see `decode_with_offsets`.

        Leading spaces that the tokenizer's own decoder removes belong to no token.
        """
        kept, left = list(tokens), self._spaces
        for number, token in enumerate(kept):
            spaces = min(left, len(token) - len(token.lstrip(b" ")))
            kept[number], left = token[spaces:], left - spaces
            if kept[number]:
                break
        return decode_with_offsets(kept)


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    if not tokenizer.is_fast:
        raise UserError(f"{tokenizer.name_or_path!r} has no fast tokenizer; save one as tokenizer.json beside it")
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
