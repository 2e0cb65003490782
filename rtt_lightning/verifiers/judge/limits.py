"""How hard a server may be asked, and how long to wait before it is asked again."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2 as httpx

from rtt_lightning.types.errors import UserError

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, doubled for each later one."""


@dataclass(frozen=True)
class Limits:
    """How hard the server may be asked.

    Attributes:
        concurrency: Calls at a time, per process.
        requests_per_minute: Attempts per minute and process; null for no limit.
        tokens_per_minute: Estimated tokens per minute and process; null for no limit.
        deadline: Seconds that one attempt may take.
        attempts: Attempts before a call counts as failed.
    """

    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    deadline: float = 60.0
    attempts: int = 5

    def __post_init__(self) -> None:
        given = (self.concurrency, self.requests_per_minute, self.tokens_per_minute, self.deadline, self.attempts)
        if any(value is not None and value <= 0 for value in given):
            raise UserError(f"limits of a judge must be above 0, got {self}")


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds that a server asks to wait; ``None`` if it does not."""
    try:
        return min(max(float(answer.headers.get("retry-after", "")), 0.0), LONGEST_WAIT)
    except ValueError:  # none, or a date
        return None


def wait_after(attempt: int) -> float:
    """Seconds to wait, doubled each time, with jitter: calls that failed together should not retry together."""
    return random.uniform(0.5, 1.0) * min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)


async def pass_through(limiter: "AsyncLimiter | None", amount: float) -> None:
    """Wait until ``amount`` more fits into the minute."""
    if limiter is not None:
        await limiter.acquire(min(amount, limiter.max_rate))
