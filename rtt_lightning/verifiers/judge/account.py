"""What a judge spends, set aside before each attempt and settled after it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rtt_lightning.types import OutsideFailure
from rtt_lightning.verifiers.judge.budget import Bill, Budget
from rtt_lightning.verifiers.judge.store import Store

TEMPLATE_TOKENS = 100
"""For what a server's chat template puts around the messages."""
SETTLING_SECONDS = 0.05


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
