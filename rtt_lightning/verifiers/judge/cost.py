"""What a judge will be asked: the sizes of its real prompts, and a budget beside their price."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from rtt_lightning.types import Message, RubricSample
from rtt_lightning.verifiers.forecast import BYTES_PER_TOKEN, Expected, Forecast
from rtt_lightning.verifiers.judge.budget import Budget
from rtt_lightning.verifiers.judge.prompts import Template, render, shortened


def conversation_of(sample: RubricSample) -> str:
    """What a judge is shown of a prompt."""
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in sample.messages)


def size_of(messages: Sequence[Message]) -> int:
    """Bytes of what they say."""
    return sum(len(message["content"].encode()) for message in messages)


def asked(expected: Iterable[Expected], template: Template, longest: int, per_call: int) -> tuple[float, float]:
    """Calls, one opinion per criterion, and tokens of their prompts.

    Args:
        expected: Responses, whose criteria are all the judge's.
        template: Of the prompts.
        longest: Characters of a conversation, and of a response, that are shown whole.
        per_call: Criteria of a call.
    """
    calls = tokens = 0.0
    for sample, responses, length in expected:
        conversation = shortened(conversation_of(sample), longest)
        response = len(shortened("x" * length, longest))
        texts = [criterion.text for criterion in sample.criteria]
        for start in range(0, len(texts), per_call):
            size = size_of(render(template, conversation, "", texts[start : start + per_call]))
            calls += responses
            tokens += responses * ceil((size + response) / BYTES_PER_TOKEN)
    return calls, tokens


def priced(
    judge: str, calls: float, prompt: float, reply: float, budget: Budget, spent: Mapping[str, float]
) -> Forecast:
    """Calls and tokens with their price, and whether that is more than a budget has left.

    Args:
        judge: Its name.
        calls: Number of them.
        prompt: Tokens.
        reply: Tokens.
        budget: With prices.
        spent: Of the budget, as `Store.spent` has it.
    """
    money = budget.cost(prompt, reply)
    used = {"money": spent["money"], "tokens": spent["prompt_tokens"] + spent["completion_tokens"]}
    limits = {"money": (money, budget.money), "tokens": (prompt + reply, budget.tokens)}
    over = [
        f"budget.{name} {most:,}, of which {used[name]:,.12g} is spent"
        for name, (need, most) in limits.items()
        if most is not None and used[name] + need > most
    ]
    return Forecast(judge, calls, prompt, reply, money or None, " and ".join(over))
