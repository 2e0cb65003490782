"""An OpenAI-compatible server: asked within its limits, asked again when it stumbles, given up when it is down."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtt_lightning.types import Message, OutsideFailure

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, doubled for each later one."""
HOPELESS = {401: "the key is refused", 403: "the key may not use this model", 404: "there is no such model or path"}


class CallFailed(Exception):
    """No reply, and why."""


@dataclass(frozen=True)
class Reply:
    """What the server wrote, and the tokens that it counted; zeros where it counts none."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Limits:
    """How hard the server may be asked.

    Attributes:
        concurrency: Calls at a time, per process.
        requests_per_minute: Attempts per minute and process; null for any number.
        tokens_per_minute: Estimated tokens per minute and process; null for any number.
        deadline: Seconds that one attempt may take.
        attempts: Of one call, before it counts as failed.
    """

    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    deadline: float = 60.0
    attempts: int = 5

    def __post_init__(self) -> None:
        given = (self.concurrency, self.requests_per_minute, self.tokens_per_minute, self.deadline, self.attempts)
        if any(value is not None and value <= 0 for value in given):
            raise ValueError(f"limits of a judge must be above 0, got {self}")


class Endpoint:
    """Asks one model on one server.

    Args:
        model: Its name on the server.
        url: Of the server, up to ``/v1``; null for OpenAI's own.
        key_variable: Environment variable with the key. The key itself stands in no file.
        options: More arguments of a chat completion, such as ``temperature``.
        structured: Have the server hold to the schema where it can; it is asked without where it says that it cannot.
        limits: How hard it may be asked.

    Raises:
        ValueError: For a URL that carries a password, or OpenAI's own server without a key.
    """

    def __init__(
        self,
        model: str,
        url: str | None,
        key_variable: str,
        options: Mapping[str, Any],
        structured: bool,
        limits: Limits,
    ) -> None:
        if url and "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError(f"the judge's url must hold no password; put the key into the variable {key_variable}")
        self._key = os.environ.get(key_variable, "")
        if not url and not self._key:
            raise ValueError(f"the judge needs a key: set {key_variable}, or judge.url for a server without one")
        self.model, self.url, self._options, self._limits = model, url, dict(options), limits
        self._structured = structured
        self._key_variable = key_variable

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Connections and limits of one event loop."""
        from aiolimiter import AsyncLimiter
        from openai import AsyncOpenAI

        limits = self._limits
        self.slots = asyncio.Semaphore(limits.concurrency)
        self._requests = AsyncLimiter(limits.requests_per_minute, 60) if limits.requests_per_minute else None
        self._tokens = AsyncLimiter(limits.tokens_per_minute, 60) if limits.tokens_per_minute else None
        client = AsyncOpenAI(api_key=self._key or "none", base_url=self.url, max_retries=0, timeout=limits.deadline)
        async with AsyncExitStack() as stack:
            self._client = await stack.enter_async_context(client)
            yield

    async def ask(
        self, messages: Sequence[Message], schema: Mapping[str, Any], tokens: int, options: Mapping[str, Any]
    ) -> Reply:
        """One reply. Callers hold one of ``slots`` meanwhile.

        Args:
            messages: To send.
            schema: JSON schema of the reply.
            tokens: Estimate of all tokens of the call, for the limit per minute.
            options: Arguments of this call alone.

        Raises:
            CallFailed: If all attempts failed, or the server refuses the call.
            OutsideFailure: If asking again is hopeless.
        """
        for attempt in range(1, self._limits.attempts + 1):
            await _pass(self._requests, 1)
            await _pass(self._tokens, tokens)
            try:
                return await self._attempt(messages, schema, options)
            except _Stumble as error:
                if attempt == self._limits.attempts:
                    raise CallFailed(f"{error} ({attempt} attempts)") from None
                await asyncio.sleep(error.wait if error.wait is not None else _wait(attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, messages: Sequence[Message], schema: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Reply:
        import openai

        format = {"type": "json_schema", "json_schema": {"name": "verdicts", "schema": dict(schema), "strict": True}}
        arguments: dict[str, Any] = {"model": self.model, "messages": list(messages), **self._options, **options}
        if self._structured:
            arguments["response_format"] = format
        try:
            async with asyncio.timeout(self._limits.deadline):
                made: Any = await self._client.chat.completions.create(**arguments)
        except TimeoutError:
            raise _Stumble(f"no reply within {self._limits.deadline:g} seconds") from None
        except openai.APIStatusError as error:
            if error.status_code not in (400, 422) or not self._structured or not _is_about_format(str(error)):
                raise self._failure(error) from None
            self._structured = False
            return await self._attempt(messages, schema, options)
        except openai.APIConnectionError as error:
            raise _Stumble(self._public(f"no connection: {error.__cause__ or error}")) from None
        except openai.APIError as error:
            raise _Stumble(self._public(str(error))) from None
        choice = made.choices[0] if made.choices else None
        if choice is None:
            raise _Stumble("a reply without choices")
        usage = made.usage
        counted = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        return Reply(choice.message.content or "", *counted)

    def _failure(self, error: Any) -> Exception:
        """What an answer with an error status means."""
        status = error.status_code
        if status in HOPELESS:
            return OutsideFailure(
                f"the judge at {self.url or 'OpenAI'} answers {status}: {HOPELESS[status]} (model {self.model!r}, key "
                f"from {self._key_variable}). Mend it, then resume with --ckpt_path"
            )
        if status in (408, 429) or status >= 500:
            return _Stumble(f"HTTP status {status}", _retry_after(error))
        return CallFailed(f"the server refuses the call: {self._public(str(error))[:300]}")

    def _public(self, text: str) -> str:
        """A message of the server without the key, should it quote it."""
        return text.replace(self._key, "***") if self._key else text


class _Stumble(Exception):
    """A failure that another attempt may not meet; ``wait`` seconds, where the server said how many."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _is_about_format(reason: str) -> bool:
    """Whether a refusal is about the schema."""
    return any(word in reason for word in ("response_format", "json_schema", "guided", "structured"))


def _retry_after(error: Any) -> float | None:
    try:
        return min(max(float(error.response.headers.get("retry-after", "")), 0.0), LONGEST_WAIT)
    except ValueError:  # none, or a date
        return None


def _wait(attempt: int) -> float:
    """Twice as long each time, with jitter: those who failed together must not come back together."""
    return random.uniform(0.5, 1.0) * min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)


async def _pass(limiter: "AsyncLimiter | None", amount: float) -> None:
    if limiter is not None:
        await limiter.acquire(min(amount, limiter.max_rate))
