"""What a judge and an annotator share: one model on one server, asked within limits and a budget, and what it answered.

The parts of this room speak of the judge; what is raised here names the one who asks in its place.
"""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import Message, OutsideFailure
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.forecast import BYTES_PER_TOKEN, Forecast
from rtt_lightning.verifiers.judge.budget import Account, Budget
from rtt_lightning.verifiers.judge.completions import Reply
from rtt_lightning.verifiers.judge.cost import priced, size_of
from rtt_lightning.verifiers.judge.dialect import LENGTHS, request_settings
from rtt_lightning.verifiers.judge.endpoint import CallFailed, Endpoint
from rtt_lightning.verifiers.judge.limits import Limits
from rtt_lightning.verifiers.judge.store import Store


class Asker:
    """Asks a model, and ends the run when its server is down or the budget is spent; see `LLMJudge` for most arguments.

    Args:
        role: Who asks, for messages.
        go_on: How a run that ended continues, for messages.
        model: Name of the model on the server.
        url: Of the server.
        key_variable: Environment variable with the key.
        max_completion_tokens: Most tokens of a reply.
        temperature: Of sampling the reply.
        structured: Ask the server to follow a JSON schema if it can.
        options: More fields of the request.
        limits: How hard the server may be asked.
        budget: What may be spent.
        file: SQLite file of answers and spending; null to keep neither.
        failures_in_a_row: Failed calls in a row that end the run.
    """

    def __init__(
        self,
        role: str,
        go_on: str,
        model: str,
        url: str | None,
        key_variable: str | None,
        max_completion_tokens: int,
        temperature: float | None,
        structured: bool,
        options: Mapping[str, Any] | None,
        limits: Limits,
        budget: Budget,
        file: str | None,
        failures_in_a_row: int,
    ) -> None:
        if min(max_completion_tokens, failures_in_a_row) < 1:
            raise UserError(
                "max_completion_tokens and failures_in_a_row must be at least 1, "
                f"got {max_completion_tokens} and {failures_in_a_row}"
            )
        self.model = model
        self.options = request_settings(max_completion_tokens, temperature, structured, options or {})
        """Fields of requests besides the question."""
        self._reply = max(
            (self.options[name] for name in LENGTHS if name in self.options), default=max_completion_tokens
        )
        self._endpoint = Endpoint(model, url, key_variable, self.options, structured, limits)
        self._budget, self._most_failures, self._failures = budget, failures_in_a_row, 0
        self._role, self._go_on, self._path = role, go_on, Path(file) if file else None
        self._account = Account(budget, lambda: self.store, self._reply)

    @cached_property
    def store(self) -> Store:
        """What was answered, by keys of the caller. Opened for the first answer, not when the configuration is read."""
        return Store(self._path, self._budget.tokens, self._budget.money)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Connections of an event loop."""
        async with self._endpoint.session():
            yield

    def problems(self) -> list[str]:
        """What is missing to ask anything, in words."""
        return [self.named(problem) for problem in self._endpoint.problems()]

    async def call(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int | None = None) -> Reply:
        """One reply, paid for.

        Args:
            messages: To send.
            schema: JSON schema of the reply.
            seed: To send, for one of several replies to the same messages.

        Raises:
            CallFailed: If there is none.
            OutsideFailure: If asking again is useless, too many calls failed in a row, or the budget is spent.
        """
        size = size_of(messages)
        estimate = math.ceil(size / BYTES_PER_TOKEN) + self._reply
        options = {} if seed is None else {"seed": seed}
        async with self._endpoint.slots:
            try:
                reply = await self._endpoint.ask(
                    messages, schema, estimate, options, partial(self._account.paying, size)
                )
            except CallFailed as error:
                self._failures += 1
                if self._failures >= self._most_failures:
                    raise OutsideFailure(self._down(error)) from error
                raise CallFailed(self.named(str(error)), error.is_refusal) from error
            except OutsideFailure as error:
                raise OutsideFailure(f"{self.named(str(error))}, then {self._go_on}") from error
        self._failures = 0
        return Reply(reply.text, self.named(reply.silence))

    def try_out(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int | None = None) -> list[str]:
        """Ask one small question, without keeping the answer; returns doubts, in words.

        Raises:
            OutsideFailure: If there is no reply.
        """

        async def ask() -> Reply:
            async with self.session():
                return await self.call(messages, schema, seed)

        tried = "was asked one question to try it out"
        try:
            with start_blocking_portal() as portal:
                reply = portal.call(ask)
        except CallFailed as error:
            raise OutsideFailure(
                f"the {self._role} {self.model!r} at {self._endpoint.url} {tried}, and failed: {error}. Nothing was "
                "sampled; fix it, or start it, and run again"
            ) from error
        finally:
            self._failures = 0
        return [f"the {self._role} {tried}: {reply.silence}"] if reply.silence else []

    def forecast(self, calls: float, prompt_tokens: float) -> Forecast:
        """What so many calls will cost, and whether the budget has it left."""
        spent = self.store.spent()
        found = priced(self.model, calls, prompt_tokens, calls * self._reply, self._budget, spent)
        return replace(found, role=self._role)

    def named(self, text: str) -> str:
        """A message about the judge as one about whoever asks."""
        return text.replace("the judge", f"the {self._role}")

    def _down(self, last: CallFailed) -> str:
        return (
            f"the {self._role} at {self._endpoint.url} failed {self._most_failures} times in a row, last: "
            f"{self.named(str(last))}. What it said so far is kept in {self._path or 'no file'}, and none was made up: "
            f"fix the {self._role}, then {self._go_on}"
        )
