"""An OpenAI-compatible server: asks within limits, retries after failures, and gives up when it is down."""

import asyncio
import importlib.util
import os
import re
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2 as httpx

from rtt_lightning.runtime.servers import (
    async_client,
    by_proxy,
    checked_url,
    content_of,
    is_page,
    no_answer,
    unusable_proxy,
)
from rtt_lightning.types import Message, OutsideFailure
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.judge.budget import Bill
from rtt_lightning.verifiers.judge.completions import NoCompletion, Reply, read_completion
from rtt_lightning.verifiers.judge.dialect import Dialect, suggest_fix
from rtt_lightning.verifiers.judge.limits import Limits, pass_through, retry_after, wait_after

OPENAI = "https://api.openai.com/v1"
HOPELESS = {
    401: "the key is refused",
    402: "the account cannot pay for it",
    403: "the key may not use this model",
    404: "there is no such model or path",
    407: "the proxy asks for a name and a password",
}
"""Statuses after which asking again is useless, and what they mean."""
NO_QUOTA = "insufficient_quota"
"""OpenAI's code for an account that has used up its quota, as against one that asks too often."""


class CallFailed(Exception):
    """Why a call got no reply. ``is_refusal``: the same call would be refused again."""

    def __init__(self, said: str, is_refusal: bool = False) -> None:
        super().__init__(said)
        self.is_refusal = is_refusal


class Endpoint:
    """Asks one model on one server.

    Args:
        model: Its name on the server.
        url: Of the server, up to ``/v1``; null for OpenAI's own.
        key_variable: Environment variable with the key, which is in no file. Null: OPENAI_API_KEY for OpenAI's own
            server, no key for another.
        options: More fields of a chat completion's request, such as ``temperature``.
        structured: Ask the server to follow the schema, unless it says that it cannot.
        limits: How hard it may be asked.

    Raises:
        UserError: For a URL that has a password or a query, or is not a URL.
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
            raise UserError("the judge's url must hold no password and no key; an environment variable has the key")
        self._key_variable = key_variable or ("" if url else "OPENAI_API_KEY")
        self._key = os.environ.get(self._key_variable, "").strip()
        self.url = checked_url(url or os.environ.get("OPENAI_BASE_URL") or OPENAI, "the judge's url")
        self.model, self._options, self._limits = model, dict(options), limits
        self._dialect, self._proven = Dialect(structured), False

    def problems(self) -> list[str]:
        """What is missing to ask anything, in words."""
        found = []
        if importlib.util.find_spec("aiolimiter") is None:
            found.append("the judge needs aiolimiter: pip install 'rtt-lightning[judge]'")
        if problem := unusable_proxy(self.url):
            found.append(f"the judge at {problem}")
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

        limits = self._limits
        self.slots = asyncio.Semaphore(limits.concurrency)
        self._requests = AsyncLimiter(limits.requests_per_minute, 60) if limits.requests_per_minute else None
        self._tokens = AsyncLimiter(limits.tokens_per_minute, 60) if limits.tokens_per_minute else None
        async with async_client(self.url, timeout=limits.deadline) as self._client:
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
            tokens: Estimated tokens of the call, for the limit per minute.
            options: Fields of only this request.
            paying: Surrounds each attempt: reserves the most that it can cost, and settles the bill.

        Raises:
            CallFailed: If all attempts failed, or the server refuses the call.
            OutsideFailure: If asking again is useless.
        """
        request = {"model": self.model, "messages": list(messages), **self._options, **options}
        dialect, attempt = self._dialect, 1
        while True:
            body = dialect.body(request, schema)
            await pass_through(self._requests, 1)
            await pass_through(self._tokens, tokens)
            try:
                async with paying() as bill:
                    reply = await self._attempt(body, bill)
                self._agree(dialect)
                return reply
            except _Failure as error:
                proven = self._proven and dialect == self._dialect
                other = dialect.after(error.said, body, proven, error.is_refusal)
                if other is not None:
                    dialect = other
                elif error.is_refusal or attempt == self._limits.attempts:
                    kind = "the server refuses the call: " if error.is_refusal else ""
                    tried = "" if error.is_refusal else f" ({attempt} attempts)"
                    hint = suggest_fix(error.said, body, self._options, error.status == 500 and not proven)
                    raise CallFailed(f"{kind}{error.said}{tried}{hint}", error.is_refusal) from None
                else:
                    await asyncio.sleep(error.wait if error.wait is not None else wait_after(attempt))
                    attempt += 1

    def _agree(self, dialect: Dialect) -> None:
        """Keep a way of asking that the server accepted."""
        if self._dialect.structured and not dialect.structured:
            warnings.warn(
                f"the judge at {self.url} takes no JSON schema and is asked without; structured: false does so at once",
                stacklevel=2,
            )
        self._dialect, self._proven = dialect, True

    async def _attempt(self, body: Mapping[str, Any], bill: Bill) -> Reply:
        answer = await self._send(body, bill)
        try:
            completion = read_completion(answer)
        except NoCompletion as error:
            if not answer.is_success:
                bill.pay(0, 0)
            raise self._failure(answer, error) from None
        if completion.prompt_tokens or completion.completion_tokens:
            bill.pay(completion.prompt_tokens, completion.completion_tokens)
        return completion.reply

    async def _send(self, body: Mapping[str, Any], bill: Bill) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            async with asyncio.timeout(self._limits.deadline):
                return await self._client.post(f"{self.url}/chat/completions", json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            bill.pay(0, 0)  # it was never sent
            raise _Failure(self._public(f"no connection: {no_answer(error, self.url)}")) from None
        except (TimeoutError, httpx.TimeoutException):
            raise _Failure(f"no reply within {self._limits.deadline:g} seconds{by_proxy(self.url)}") from None
        except httpx.RequestError as error:
            raise _Failure(self._public(f"no connection: {no_answer(error, self.url)}")) from None

    def _failure(self, answer: httpx.Response, error: NoCompletion) -> Exception:
        """What an answer without a reply means."""
        said, status = self._public(str(error)), error.status
        meaning = HOPELESS.get(status)
        if status == 429 and NO_QUOTA in answer.text:
            meaning = "the account's quota is used up"
        if meaning and is_page(answer):
            meaning = "the URL is no API"
        elif meaning and by_proxy(self.url) and content_of(answer) is None:
            meaning = "the proxy lets nothing through"
        if meaning:
            return OutsideFailure(
                f"the judge at {self.url}{by_proxy(self.url)} answers {status}: {meaning} (model {self.model!r}, "
                f"{f'key from {self._key_variable}' if self._key_variable else 'no key'}). It says: {said}. Fix it"
            )
        if status in (408, 409, 425, 429) or status >= 500:
            said = f"HTTP status {status}: {said}{by_proxy(self.url)}"
            return _Failure(said, status, wait=retry_after(answer))
        if 300 <= status < 400:
            said = f"HTTP status {status}, which leads nowhere: {said}"
        return _Failure(said, status, is_refusal=status >= 400)

    def _public(self, text: str) -> str:
        """A message of the server without the key that it may quote, or OpenAI's key."""
        for key in filter(None, (self._key, os.environ.get("OPENAI_API_KEY"))):
            text = text.replace(key, "***")
        return text


class _Failure(Exception):
    """A failed attempt.

    Attributes:
        said: The server's reason.
        status: HTTP status, 0 without an answer.
        is_refusal: Whether the same request would be refused again; otherwise another attempt may succeed.
        wait: Seconds to wait, if the server said so.
    """

    def __init__(self, said: str, status: int = 0, is_refusal: bool = False, wait: float | None = None) -> None:
        super().__init__(said)
        self.said, self.status, self.is_refusal, self.wait = said, status, is_refusal, wait
