"""Responses that another system produced, and the prompts of the data that they answer."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from rtt_lightning.datamodules import RubricDataModule
from rtt_lightning.datamodules.rows import read_rows
from rtt_lightning.datamodules.sources import ConstraintPrompts
from rtt_lightning.lm.reasoning import KNOWN, given_answer_span
from rtt_lightning.runtime.terminal import listed
from rtt_lightning.types import Marks, Message, Rollout, RubricSample
from rtt_lightning.types.conversations import is_conversation
from rtt_lightning.types.errors import UserError


def answered(
    data: RubricDataModule, reasoning: Sequence[Marks] | None, file: str
) -> list[tuple[RubricSample, Rollout]]:
    """The responses of a file, each with every rubric that the data holds for its prompt.

    Args:
        data: With its records. A prompt of train counts where val does not have it.
        reasoning: Marks that reasoning stands between; null for all that are known.
        file: Rows of ``prompt`` (a text, or a list of messages) and ``response``; a prompt may have several. Prompts
            may have lost or gained white space on the way, as long as one prompt of the data alone can be meant.

    Raises:
        UserError: If rows are not such, or answer no prompt of the data.
    """
    val, train = ([record.sample for record in data.records.get(split, ())] for split in ("val", "train"))
    held_out = {_key(sample.messages) for sample in val}
    samples = val + [sample for sample in train if _key(sample.messages) not in held_out]
    groups: defaultdict[str, list[int]] = defaultdict(list)  # a prompt may stand in the data with several rubrics
    for group, sample in enumerate(samples):
        groups[_key(sample.messages)].append(group)
    responses = _read(file)
    builtin = isinstance(data.source, ConstraintPrompts)  # the default
    where = "built-in prompts (no data is named)" if builtin else "train and val data"
    prompts = _matches(groups, [prompt for prompt, _ in responses], where)
    rows: list[tuple[RubricSample, Rollout]] = []
    counts: Counter[int] = Counter()
    for prompt, response in responses:
        span = given_answer_span(response, KNOWN if reasoning is None else reasoning)
        for group in groups[prompts[prompt]]:
            rows.append((samples[group], Rollout.of_text(samples[group].id, response, span, group, counts[group])))
            counts[group] += 1
    if 0 < (missing := sum(group not in counts for group in range(len(val)))) < len(val):
        print(f"{missing} of {len(val)} held-out prompts have no response in {file}: they are left out")
    return rows


def holds_criteria(file: str) -> bool:
    """Whether it holds completions, whose rows have rubrics of their own."""
    if Path(file).is_dir():
        return True
    _, row = next(iter(read_rows(file).numbered), (0, None))
    return isinstance(row, dict) and "criteria" in row


def _read(file: str) -> list[tuple[str, str]]:
    """Prompts, as `_key` makes them, with responses."""
    found, problems = [], []
    for line, row in read_rows(file).numbered:
        match row:
            case {"prompt": str(prompt), "response": str(response)}:
                found.append((prompt, response))
            case {"prompt": list(messages), "response": str(response)} if is_conversation(messages):
                found.append((_key(messages), response))
            case _:
                problems.append(f"line {line}: {row!s:.80}")
    if problems:
        needed = "`prompt` (a text, or a list of {role, content}) and `response` (a text)"
        raise UserError(f"{file}: each row needs {needed}, these have not\n{listed(problems)}")
    if not found:
        raise UserError(f"{file} holds no responses; it needs rows of `prompt` and `response`")
    return found


def _matches(known: Collection[str], asked: Sequence[str], where: str) -> dict[str, str]:
    """The prompt of the data for each that was answered: the same one, else the one that differs in white space."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for prompt in known:
        alike[" ".join(prompt.split())].append(prompt)
    matches = {prompt: [prompt] if prompt in known else alike[" ".join(prompt.split())] for prompt in asked}
    unknown = [prompt for prompt in asked if not matches[prompt]]
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(asked)} responses are to prompts that are not in the {where}, such as "
            f"{unknown[0][:80]!r}; give the data with these prompts by --config or --data.source, or rows "
            "with `criteria` of their own"
        )
    doubtful = [prompt for prompt in asked if len(matches[prompt]) > 1]
    if doubtful:
        raise UserError(
            f"{len(doubtful)} of {len(asked)} responses are to prompts that several of the data differ from in white "
            f"space alone, such as {doubtful[0][:80]!r}; write the prompts as they stand in the data"
        )
    return {prompt: match for prompt, (match,) in matches.items()}


def _key(messages: Sequence[Message]) -> str:
    """What identifies a prompt: the text of a single user message, else all turns."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
