"""Prompts as the policy reads them: those that cannot be rendered or read are errors; those that are too long are
errors, dropped or truncated.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from lightning.pytorch.utilities import rank_zero_warn
from transformers import PreTrainedTokenizerBase

from rtt_lightning.datamodules.records import Record
from rtt_lightning.lm.tokenizers import TemplateArguments, render_prompt, without_embedding
from rtt_lightning.runtime.terminal import listed
from rtt_lightning.types import Message, RubricSample
from rtt_lightning.types.errors import UserError

Overlong = Literal["error", "drop", "truncate"]
LISTED = 10


def render_prompts(
    samples: Sequence[RubricSample], tokenizer: PreTrainedTokenizerBase, arguments: TemplateArguments | None = None
) -> list[tuple[int, ...]]:
    """Token ids of prompts, see `render_prompt`.

    Raises:
        UserError: One error that names all prompts that cannot be rendered, by reason.
    """
    found, problems = [], dict[str, list[str]]()
    for sample in samples:
        try:
            found.append(render_prompt(tokenizer, sample.messages, arguments))
        except ValueError as error:
            problems.setdefault(str(error), []).append(sample.id)
    if problems:
        lines = [f"{', '.join(ids[:LISTED])}{', ...' * (len(ids) > LISTED)}: {why}" for why, ids in problems.items()]
        count = sum(map(len, problems.values()))
        raise UserError(f"{count} of {len(samples)} prompts cannot be rendered\n{listed(lines)}")
    return found


def check_vocabulary(
    samples: Sequence[RubricSample],
    tokenizer: PreTrainedTokenizerBase,
    rows: int,
    arguments: TemplateArguments | None = None,
) -> None:
    """Raise for prompts with tokens that a model cannot read.

    Args:
        samples: Prompts.
        tokenizer: The model's.
        rows: Of its embedding; valid token ids are below.
        arguments: Further arguments of the chat template.

    Raises:
        UserError: If a prompt has another token.
    """
    if max(tokenizer.get_vocab().values(), default=0) < rows:
        return
    highest = [max(ids, default=0) for ids in render_prompts(samples, tokenizer, arguments)]
    beyond = [(sample.id, token) for sample, token in zip(samples, highest, strict=True) if token >= rows]
    if beyond:
        name, token = beyond[0]
        raise UserError(
            f"{len(beyond)} of {len(samples)} prompts, such as {name}, hold a token that the model has no embedding "
            f"for: {without_embedding(tokenizer, token, rows)}"
        )


def limit_lengths(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    overlong: Overlong,
    arguments: TemplateArguments | None = None,
) -> list[Record]:
    """Records whose rendered prompts have at most ``limit`` tokens.

    Args:
        records: Prompts with rubrics.
        tokenizer: Renders and measures them.
        limit: Tokens, the chat template's included.
        overlong: Whether longer ones are an error, are dropped, or are truncated (see `truncate_turns`); a warning
            names those that are dropped or truncated.
        arguments: Further arguments of the chat template.

    Raises:
        UserError: For a prompt that cannot be rendered; for a longer one if these are errors, or if truncating leaves
            nothing of it.
    """
    lengths = [len(ids) for ids in render_prompts([record.sample for record in records], tokenizer, arguments)]
    long = [(record.sample.id, n) for record, n in zip(records, lengths, strict=True) if n > limit]
    if not long:
        return list(records)
    shown = ", ".join(f"{name} ({n} tokens)" for name, n in long[:LISTED]) + (", ..." if len(long) > LISTED else "")
    message = f"{len(long)} of {len(records)} prompts are longer than {limit} tokens: {shown}"
    if overlong == "error":
        raise UserError(f"{message}; raise data.max_prompt_tokens, or set data.overlong to drop or truncate")
    if overlong == "drop":
        rank_zero_warn(f"{message}; dropped")
        return [record for record, n in zip(records, lengths, strict=True) if n <= limit]
    rank_zero_warn(f"{message}; truncated: early turns and the beginnings of long ones are left out")
    return [
        _truncated_record(record, tokenizer, limit, arguments) if n > limit else record
        for record, n in zip(records, lengths, strict=True)
    ]


def truncate_turns(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    arguments: TemplateArguments | None = None,
) -> tuple[Message, ...]:
    """A conversation shortened to ``limit`` rendered tokens. Its end stays, as that is what is asked for.

    First early turns go, each user turn with its answer, so that a user turn still comes first; the system message
    stays. Then the beginning of the last turn is cut off.

    Raises:
        UserError: If the system message and the chat template alone are longer.
    """

    def size(*turns: Message) -> int:
        return len(render_prompt(tokenizer, turns, arguments))

    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    while len(turns) > 1 and size(*system, *turns) > limit:
        next_user = (i for i, turn in enumerate(turns) if i and turn["role"] == "user")
        turns = turns[next(next_user, len(turns) - 1) :]
    *others, last = turns
    cut = 0
    while (tokens := size(*(shorter := (*system, *others, last)))) > limit:
        if not last["content"]:
            raise UserError(f"its system message and chat template alone are longer than {limit} tokens, {tokens}")
        cut += tokens - limit
        last = last | {"content": _without_tokens(tokenizer, turns[-1]["content"], cut)}
    return shorter


def _truncated_record(
    record: Record, tokenizer: PreTrainedTokenizerBase, limit: int, arguments: TemplateArguments | None
) -> Record:
    try:
        messages = truncate_turns(record.sample.messages, tokenizer, limit, arguments)
    except ValueError as error:
        raise UserError(
            f"prompt {record.sample.id!r} cannot be truncated: {error}; raise data.max_prompt_tokens"
        ) from error
    return replace(record, sample=replace(record.sample, messages=messages))


def _without_tokens(tokenizer: PreTrainedTokenizerBase, text: str, count: int) -> str:
    """The text without its first ``count`` tokens; whole characters stay."""
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return "" if count >= len(ends) else text[ends[count - 1][1] :]
