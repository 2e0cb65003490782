"""Prompts that are too long for the policy: refused, dropped or shortened, and listed either way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from lightning.pytorch.utilities import rank_zero_warn
from transformers import PreTrainedTokenizerBase

from rtt_lightning.datamodules.records import Record
from rtt_lightning.tokenizers import render_prompt
from rtt_lightning.types import Message

Overlong = Literal["error", "drop", "truncate"]
LISTED = 10


def within_length(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, limit: int, overlong: Overlong
) -> list[Record]:
    """Records whose rendered prompts have at most ``limit`` tokens.

    Args:
        records: Prompts with rubrics.
        tokenizer: Renders and measures them.
        limit: Tokens, the chat template's included.
        overlong: What to do with longer ones: end with an error, drop them, or truncate them, see `truncated`. What
            was dropped or truncated is named in a warning.

    Raises:
        ValueError: For a longer one if they are errors, or if nothing is left of it when truncated.
    """
    lengths = [len(render_prompt(tokenizer, record.sample.messages)) for record in records]
    long = [(record.sample.id, n) for record, n in zip(records, lengths, strict=True) if n > limit]
    if not long:
        return list(records)
    shown = ", ".join(f"{name} ({n} tokens)" for name, n in long[:LISTED]) + (", ..." if len(long) > LISTED else "")
    message = f"{len(long)} of {len(records)} prompts are longer than {limit} tokens: {shown}"
    if overlong == "error":
        raise ValueError(f"{message}; raise data.max_prompt_tokens, or set data.overlong to drop or truncate")
    if overlong == "drop":
        rank_zero_warn(f"{message}; dropped")
        return [record for record, n in zip(records, lengths, strict=True) if n <= limit]
    rank_zero_warn(f"{message}; truncated: early turns and the beginnings of long ones are left out")
    return [
        _truncated_record(record, tokenizer, limit) if n > limit else record
        for record, n in zip(records, lengths, strict=True)
    ]


def truncated(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, limit: int) -> tuple[Message, ...]:
    """A conversation within ``limit`` rendered tokens: what comes last stays, as that is what is asked for.

    Early turns are left out first, a user's with the answer to it, so that a user still begins; the system message
    stays. Then the beginning of the last turn is cut off.

    Raises:
        ValueError: If the system message and the chat template alone are longer.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    while len(turns) > 1 and _size(tokenizer, [*system, *turns]) > limit:
        next_user = (i for i, turn in enumerate(turns) if i and turn["role"] == "user")
        turns = turns[next(next_user, len(turns) - 1) :]
    *others, last = turns
    cut = 0
    while (size := _size(tokenizer, shorter := [*system, *others, last])) > limit:
        if not last["content"]:
            raise ValueError(f"its system message and chat template alone are longer than {limit} tokens, {size}")
        cut += size - limit
        last = last | {"content": _without_tokens(tokenizer, turns[-1]["content"], cut)}
    return tuple(shorter)


def _truncated_record(record: Record, tokenizer: PreTrainedTokenizerBase, limit: int) -> Record:
    try:
        messages = truncated(record.sample.messages, tokenizer, limit)
    except ValueError as error:
        raise ValueError(
            f"prompt {record.sample.id!r} cannot be truncated: {error}; raise data.max_prompt_tokens"
        ) from error
    return replace(record, sample=replace(record.sample, messages=messages))


def _size(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> int:
    return len(render_prompt(tokenizer, messages))


def _without_tokens(tokenizer: PreTrainedTokenizerBase, text: str, count: int) -> str:
    """Without its first tokens; whole characters are left."""
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return "" if count >= len(ends) else text[ends[count - 1][1] :]
