"""What a judge may cost, and what a call of it did cost."""

import math
from dataclasses import dataclass


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
            raise ValueError(f"a judge's budget and prices must be >= 0, got {self}")
        if self.money is not None and not any(prices):
            raise ValueError("a judge's budget in money needs prices: set budget.prompt_price and completion_price")

    def cost(self, prompt: int, completion: int) -> float:
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
