"""What judging will cost, before it does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rtt_lightning.types import RubricSample

BYTES_PER_TOKEN = 3.0
"""Fewer than in most texts, so that estimates are rather too high."""


class Expected(NamedTuple):
    """Responses that will be judged.

    Attributes:
        sample: What they answer.
        responses: How many there will be; a mean where it is not known which prompts come how often.
        length: Bytes of the longest.
    """

    sample: RubricSample
    responses: float
    length: int


@dataclass(frozen=True)
class Forecast:
    """What a judge will be asked, without what it knows already and calls that must be made again.

    Attributes:
        judge: Its name.
        calls: About how many.
        prompt_tokens: Of all calls, if each response is as long as is expected at most.
        reply_tokens: Of all calls, if each reply is as long as it may be.
        money: For these; ``None`` without prices.
        over: The budgets that are less than this, in words; empty where none is.
        role: What it is, a judge or an annotator.
    """

    judge: str
    calls: float
    prompt_tokens: float
    reply_tokens: float
    money: float | None
    over: str = ""
    role: str = "judge"

    def __str__(self) -> str:
        money = "" if self.money is None else f", for up to {self.money:,.4f}"
        over = f"; more than {self.over}: the run may end early" if self.over else ""
        return (
            f"{self.role} {self.judge}: about {self.calls:,.0f} calls with up to {self.prompt_tokens:,.0f} tokens of "
            f"prompts ({BYTES_PER_TOKEN:.0f} bytes each) and {self.reply_tokens:,.0f} of replies{money}; less what was "
            f"asked before{over}"
        )


def of_answers(answers: Iterable[tuple[RubricSample, str]]) -> list[Expected]:
    """Responses that are there; empty ones are judged without being asked about."""
    return [Expected(sample, 1, len(answer.encode("utf-8", "replace"))) for sample, answer in answers if answer.strip()]
