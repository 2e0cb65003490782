"""An OpenAI-compatible server: asked within its limits, asked again when it stumbles, given up when it is down."""

import asyncio
import importlib.util
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtt_lightning.types import Message, OutsideFailure
from rtt_lightning.verifiers.judge.budget import Bill
from rtt_lightning.verifiers.judge.silence import silence

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, doubled for each later one."""
HOPELESS = {401: "the key is refused", 403: "the key may not use this model", 404: "there is no such model or path"}


class CallFailed(Exception):
    """No reply, and why."""


@dataclass(frozen=True)
class Reply:
    """What the server wrote, and why that is not to be read; empty where it is."""

    text: str
    silence: str


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
        key_variable: Environment variable with the key, which itself stands in no file. Null: OPENAI_API_KEY for
            OpenAI's own server, and none for another.
        options: More fields of a chat completion's request, such as ``temperature``.
        structured: Have the server hold to the schema where it can; it is asked without where it says that it cannot.
        limits: How hard it may be asked.

    Raises:
        ValueError: For a URL that carries a password or a query.
    """

    def __init__(
        self,
        model: str,
        url: str | None,
        key_variable: str | None,
        options: Mapping[str, Any],
        structured: bool,
        limits: Limits,
    ) -> None:
        host, _, query = (url or "").rpartition("://")[2].partition("/")
        if "@" in host or "?" in host + query:
            raise ValueError("the judge's url must hold no password and no key; an environment variable has the key")
        self._key_variable = key_variable or ("" if url else "OPENAI_API_KEY")
        self._key = os.environ.get(self._key_variable, "").strip()
        self.model, self.url, self._options, self._limits = model, url, dict(options), limits
        self._structured = structured

    def problems(self) -> list[str]:
        """What is missing before anything can be asked, in words."""
        missing = [name for name in ("openai", "aiolimiter") if importlib.util.find_spec(name) is None]
        found = [f"the judge needs {name}: pip install 'rtt-lightning[judge]'" for name in missing]
        if not re.fullmatch(r"[\x21-\x7e]*", self._key):
            found.append(f"the key in {self._key_variable} holds characters that no key has; is it the right variable?")
        if self._key_variable and not self._key:
            found.append(
                f"the judge needs a key: set {self._key_variable}, or the judge's url for a server without one"
            )
        return found

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
        async with client as self._client:
            yield

    async def ask(
        self,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        tokens: int,
        options: Mapping[str, Any],
        paying: Callable[[], AbstractAsyncContextManager[Bill]],
    ) -> Reply:
        """One reply. Callers hold one of ``slots`` meanwhile.

        Args:
            messages: To send.
            schema: JSON schema of the reply.
            tokens: Estimate of all tokens of the call, for the limit per minute.
            options: Fields of this request alone.
            paying: Around each attempt: sets aside the most that it can cost, and settles the bill.

        Raises:
            CallFailed: If all attempts failed, or the server refuses the call.
            OutsideFailure: If asking again is hopeless.
        """
        format = {"type": "json_schema", "json_schema": {"name": "verdicts", "schema": dict(schema), "strict": True}}
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), **self._options, **options}
        if self._structured:
            body["response_format"] = format
        for attempt in range(1, self._limits.attempts + 1):
            await _pass(self._requests, 1)
            await _pass(self._tokens, tokens)
            try:
                async with paying() as bill:
                    return await self._attempt(body, bill)
            except _NoSchema:
                self._structured = False
                del body["response_format"]
            except _Stumble as error:
                if attempt == self._limits.attempts:
                    raise CallFailed(f"{error} ({attempt} attempts)") from None
                await asyncio.sleep(error.wait if error.wait is not None else _wait(attempt))
        raise CallFailed("the server takes no JSON schema, and there was no further attempt: raise limits.attempts")

    async def _attempt(self, body: Mapping[str, Any], bill: Bill) -> Reply:
        import openai

        try:
            async with asyncio.timeout(self._limits.deadline):
                # As it is: typed requests and replies cost more time than all the rest of a call.
                made: Any = await self._client.post("/chat/completions", cast_to=object, body=body)
            reply, prompt, completion = _read(made)
        except TimeoutError:
            raise _Stumble(f"no reply within {self._limits.deadline:g} seconds") from None
        except openai.APIStatusError as error:
            bill.pay(0, 0)
            if error.status_code in (400, 422) and "response_format" in body and _is_about_format(error):
                raise _NoSchema from None
            raise self._failure(error) from None
        except openai.APIConnectionError as error:
            if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
                bill.pay(0, 0)  # it never got there
            raise _Stumble(self._public(f"no connection: {error.__cause__ or error}")) from None
        except (openai.APIError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = f"what the server sent is no chat completion ({type(error).__name__}: {error})"
            raise _Stumble(self._public(reason)[:200]) from None
        if prompt or completion:
            bill.pay(prompt, completion)
        return reply

    def _failure(self, error: Any) -> Exception:
        """What an answer with an error status means."""
        status = error.status_code
        if status in HOPELESS:
            return OutsideFailure(
                f"the judge at {self.url or 'OpenAI'} answers {status}: {HOPELESS[status]} (model {self.model!r}, key "
                f"from {self._key_variable or 'nowhere'}). Mend it, then resume with --ckpt_path"
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


class _NoSchema(Exception):
    """The server does not take a schema; without it it may answer."""


def _read(completion: Any) -> tuple[Reply, int, int]:
    """The reply of a chat completion, and its tokens: of the prompt, and its own; both 0 where they are not told."""
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    message = choice["message"]
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError(f"its content is {type(text).__name__}, not text")
    reply = Reply(text, silence(message, choice.get("finish_reason")))
    return reply, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


def _is_about_format(error: Any) -> bool:
    """Whether a refusal is about the schema: by its message, not by what else of the request it quotes."""
    body = error.body if isinstance(error.body, dict) else {}
    message = str(body.get("message") or body.get("detail") or error)[:300]
    return any(word in message for word in ("response_format", "json_schema", "guided", "structured"))


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
