"""Responses that another system produced, and the prompts of the data that they answer."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rtt_lightning.datamodules import RubricDataModule
from rtt_lightning.datamodules.rows import read_rows
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
        data: With a val split.
        reasoning: Marks that reasoning stands between; null for all that are known.
        file: Rows of ``prompt`` (a text, or a list of messages) and ``response``; a prompt may have several. Prompts
            may have lost or gained white space on the way, as long as one prompt of the data alone can be meant.

    Raises:
        UserError: If rows are not such, answer no prompt of the data, or leave every prompt unanswered.
    """
    samples = [record.sample for record in data.records["val"]]
    rows = list(_rollouts(samples, _read(file), KNOWN if reasoning is None else reasoning))
    found = {row.group_id for _, row in rows}
    if len(found) < len(samples):
        print(f"{len(samples) - len(found)} of {len(samples)} prompts have no response in {file}: they are left out")
    return rows


def _read(file: str) -> list[tuple[str, str]]:
    """Prompts, as `_key` makes them, with responses."""
    found, problems = [], []
    for line, row in read_rows(file).numbered:
        if not isinstance(row, dict):
            problems.append(f"line {line} is no JSON object")
        elif not isinstance(row.get("prompt"), str | list) or not isinstance(row.get("response"), str):
            problems.append(f"line {line} needs `prompt` (a text or a list of messages) and `response` (a text)")
        elif isinstance(row["prompt"], str):
            found.append((row["prompt"], row["response"]))
        elif is_conversation(row["prompt"]):
            found.append((_key(row["prompt"]), row["response"]))
        else:
            shown = str(row["prompt"])[:80]
            problems.append(f"line {line}: `prompt` must be a text or a list of {{role, content}}, got {shown}")
    if problems:
        raise UserError(f"{file}: not all rows hold a response\n{listed(problems)}")
    if not found:
        raise UserError(f"{file} holds no responses; it needs rows of `prompt` and `response`")
    return found


def _rollouts(
    samples: Sequence[RubricSample], responses: Sequence[tuple[str, str]], marks: Sequence[Marks]
) -> Iterator[tuple[RubricSample, Rollout]]:
    groups: dict[str, list[int]] = {}
    for group, sample in enumerate(samples):
        groups.setdefault(_key(sample.messages), []).append(group)
    found = _matches(groups, [prompt for prompt, _ in responses])
    counts: Counter[int] = Counter()
    for prompt, response in responses:
        for group in groups[found[prompt]]:  # one prompt may stand in the data with several rubrics
            span = given_answer_span(response, marks)
            yield samples[group], Rollout.of_text(samples[group].id, response, span, group, counts[group])
            counts[group] += 1


def _matches(known: Iterable[str], asked: Sequence[str]) -> dict[str, str]:
    """The prompt of the data for each that was answered: the same one, else the one that differs in white space."""
    exact, alike = set(known), defaultdict(list)
    for prompt in exact:
        alike[" ".join(prompt.split())].append(prompt)
    matches = {prompt: [prompt] if prompt in exact else alike[" ".join(prompt.split())] for prompt in asked}
    unknown = [prompt for prompt in asked if not matches[prompt]]
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(asked)} responses are to prompts that the data does not hold, such as "
            f"{unknown[0][:80]!r}; are they to this benchmark?"
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
