"""What a judge may cost, and what it spends: set aside before each attempt and settled after it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rtt_lightning.types import OutsideFailure
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.judge.store import Store

TEMPLATE_TOKENS = 100
"""For what a server's chat template puts around the messages."""
SETTLING_SECONDS = 0.05


@dataclass(frozen=True)
class Budget:
    """What may be spent, over all runs and processes that share the judge's file; no call is made that could exceed it.

    Attributes:
        tokens: Of prompts and replies together; null for any number.
        money: In the currency of the prices; null for any amount.
        prompt_price: Of a million prompt tokens.
        completion_price: Of a million tokens of replies.
    """

    tokens: int | None = None
    money: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        prices = (self.prompt_price, self.completion_price)
        if not all(0 <= value < math.inf for value in (*prices, self.tokens or 0, self.money or 0)):
            raise UserError(f"a judge's budget and prices must be >= 0, got {self}")
        if self.money is not None and not any(prices):
            raise UserError("a judge's budget in money needs prices: set budget.prompt_price and completion_price")

    def cost(self, prompt: float, completion: float) -> float:
        """Price of so many tokens."""
        return (prompt * self.prompt_price + completion * self.completion_price) / 1e6


@dataclass
class Bill:
    """Tokens that an attempt is charged for: the most that it can have, until it is known better."""

    prompt_tokens: int
    completion_tokens: int

    def pay(self, prompt: int, completion: int) -> None:
        """Charge what the server counted."""
        self.prompt_tokens, self.completion_tokens = prompt, completion


class Account:
    """Pays for attempts out of a budget, which other processes may share through the store.

    Args:
        budget: What may be spent.
        store: Keeps what was spent; opened by the first attempt.
        reply: Tokens of the longest reply.
    """

    def __init__(self, budget: Budget, store: Callable[[], Store], reply: int) -> None:
        self._budget, self._store, self._reply, self._calling = budget, store, reply, 0

    @asynccontextmanager
    async def paying(self, size: int) -> AsyncIterator[Bill]:
        """Around an attempt: no prompt has more tokens than ``size`` bytes, its template aside.

        Raises:
            OutsideFailure: If the budget does not hold the most that it can cost.
        """
        prompt = size + TEMPLATE_TOKENS
        bill = Bill(prompt, self._reply)
        reserved = self._budget.cost(prompt, self._reply)
        await self._reserve(prompt, reserved)
        self._calling += 1
        try:
            yield bill
        finally:
            self._calling -= 1
            money = self._budget.cost(bill.prompt_tokens, bill.completion_tokens) - reserved
            self._store().settle(bill.prompt_tokens - prompt, bill.completion_tokens - self._reply, money)

    async def _reserve(self, prompt: int, money: float) -> None:
        """Set it aside; while other calls of this process may still turn out cheaper, wait for them."""
        while True:
            try:
                return self._store().reserve(prompt, self._reply, money)
            except OutsideFailure:
                if not self._calling:
                    raise
            await asyncio.sleep(SETTLING_SECONDS)
