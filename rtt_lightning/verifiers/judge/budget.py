"""What a judge may cost, and what it spends: reserved before each attempt and settled after it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rtt_lightning.types import OutsideFailure
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.judge.store import Store

TEMPLATE_TOKENS = 100
"""Allowance for the server's chat template."""
SETTLING_SECONDS = 0.05


@dataclass(frozen=True)
class Budget:
    """What all runs and processes that share the judge's file may spend; no call is made that could exceed it.

    Attributes:
        tokens: Of prompts and replies together; null for no limit.
        money: In the currency of the prices; null for no limit.
        prompt_price: Per million prompt tokens.
        completion_price: Per million tokens of replies.
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
    """Tokens that an attempt is charged for: the most possible, until the server reports them."""

    prompt_tokens: int
    completion_tokens: int

    def pay(self, prompt: int, completion: int) -> None:
        """Charge the tokens that the server counted."""
        self.prompt_tokens, self.completion_tokens = prompt, completion


class Account:
    """Pays for attempts from a budget, which other processes may share through the store.

    Args:
        budget: What may be spent.
        store: Keeps what was spent; the first attempt opens it.
        reply: Most tokens of a reply.
    """

    def __init__(self, budget: Budget, store: Callable[[], Store], reply: int) -> None:
        self._budget, self._store, self._reply, self._calling = budget, store, reply, 0

    @asynccontextmanager
    async def paying(self, size: int) -> AsyncIterator[Bill]:
        """Surrounds an attempt. ``size``: bytes of the prompt, which has no more tokens, template aside.

        Raises:
            OutsideFailure: If the budget does not cover the most that it can cost.
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
        """Reserve tokens and money; waits while other calls of this process may turn out cheaper."""
        while True:
            try:
                return self._store().reserve(prompt, self._reply, money)
            except OutsideFailure:
                if not self._calling:
                    raise
            await asyncio.sleep(SETTLING_SECONDS)
