"""Verdicts of a language model."""

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from rtt_lightning.types import SHORTENED, STEERING, Criterion, OutsideFailure, RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Memory, Verifier
from rtt_lightning.verifiers.forecast import BYTES_PER_TOKEN, Expected, Forecast
from rtt_lightning.verifiers.judge.budget import Account, Budget
from rtt_lightning.verifiers.judge.completions import Reply
from rtt_lightning.verifiers.judge.cost import asked, conversation_of, priced, size_of
from rtt_lightning.verifiers.judge.dialect import LENGTHS, request_settings
from rtt_lightning.verifiers.judge.endpoint import CallFailed, Endpoint
from rtt_lightning.verifiers.judge.limits import Limits
from rtt_lightning.verifiers.judge.prompts import DEFAULT, read_template, render, shortened, steers
from rtt_lightning.verifiers.judge.replies import SCHEMA, Opinion, Reading, read_reply
from rtt_lightning.verifiers.judge.store import Store
from rtt_lightning.verifiers.judge.votes import majority

TRIAL = ("user: Write a sentence about tea.", "Tea warms cold hands.", ["Mention tea."])
"""A conversation, an answer and criteria to try out a judge."""


class LLMJudge(Verifier):
    """Asks a model on an OpenAI-compatible server, such as vLLM, about each criterion.

    If a reply leaves a criterion open, it is asked again about this criterion alone; then the criterion is unscorable,
    as when the server fails. Verdicts are kept in a file: a resumed run does not ask twice.

    Args:
        model: Name of the model on the server.
        url: Of the server, up to ``/v1``; null for OpenAI's own.
        key_variable: Environment variable with the key; null for OPENAI_API_KEY with OpenAI's own server, and no key
            with another.
        template: File with the prompt; null for the built-in one.
        criteria_per_call: Criteria that one call asks about.
        votes: Opinions per criterion; the majority decides, a tie is unscorable. More than one needs a ``temperature``
            above 0.
        max_completion_tokens: Most tokens of a reply.
        max_characters: Longest prompt and longest response to show whole; longer ones lose their middle, and the
            verdict is flagged.
        temperature: Of sampling the reply; null leaves it to the server.
        structured: Ask the server to follow a JSON schema if it can.
        options: More fields of the request; null leaves a field out. ``max_tokens`` here replaces
            ``max_completion_tokens``, for a server that silently ignores the latter.
        limits: How hard the server may be asked.
        budget: What may be spent.
        file: SQLite file of verdicts and spending, on a local disk; null to keep neither.
        failures_in_a_row: Failed calls in a row that end the run.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        key_variable: str | None = None,
        template: str | None = None,
        criteria_per_call: int = 1,
        votes: int = 1,
        max_completion_tokens: int = 512,
        max_characters: int = 48_000,
        temperature: float | None = 0.0,
        structured: bool = True,
        options: dict[str, Any] | None = None,
        limits: Limits = Limits(),
        budget: Budget = Budget(),
        file: str | None = "runs/judge.sqlite",
        failures_in_a_row: int = 20,
    ) -> None:
        if votes < 1 or (votes > 1 and temperature == 0):
            raise UserError(f"votes must be >= 1, and more than one need a temperature above 0; got {votes}")
        if min(criteria_per_call, max_completion_tokens, max_characters, failures_in_a_row) < 1:
            raise UserError(
                "criteria_per_call, max_completion_tokens, max_characters and failures_in_a_row must be at least 1, "
                f"got {criteria_per_call}, {max_completion_tokens}, {max_characters} and {failures_in_a_row}"
            )
        self._template = read_template(Path(template) if template else DEFAULT)
        self._options = request_settings(max_completion_tokens, temperature, structured, options or {})
        self._reply = max(
            (self._options[name] for name in LENGTHS if name in self._options), default=max_completion_tokens
        )
        self._endpoint = Endpoint(model, url, key_variable, self._options, structured, limits)
        self._per_call, self._longest = criteria_per_call, max_characters
        self._budget, self._most_failures, self._failures = budget, failures_in_a_row, 0
        self._votes, self._path = votes, Path(file) if file else None
        self._account = Account(budget, lambda: self._store, self._reply)

    @cached_property
    def _store(self) -> Store:
        """Opened for the first verdict, not when the configuration is read."""
        return Store(self._path, self._budget.tokens, self._budget.money)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        async with self._endpoint.session():
            yield

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        if not answer.strip():
            return [Verdict(False, "empty answer")] * len(sample.criteria)
        cases = [self._case(sample, answer, vote) for vote in range(self._votes)]
        opinions = await asyncio.gather(*(self._opinions(case) for case in cases))
        return [replace(majority(votes), flags=cases[0].flags) for votes in zip(*opinions, strict=True)]

    async def _opinions(self, case: "_Case") -> "list[Opinion | str]":
        """One per criterion, stored or new."""
        found: dict[int, Opinion | str] = {
            place: kept for place, key in enumerate(case.keys) if (kept := self._store.get(key)) is not None
        }
        left = [place for place in range(len(case.keys)) if place not in found]
        calls = [left[start : start + self._per_call] for start in range(0, len(left), self._per_call)]
        for opinions in await asyncio.gather(*(self._ask(case, call) for call in calls)):
            found |= opinions
        return [found[place] for place in range(len(case.keys))]

    def problems(self, sample: RubricSample) -> list[str]:
        return self._endpoint.problems()

    def gives_spans(self, criterion: Criterion) -> bool:
        return False

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        """Judge one small answer, without keeping the verdict."""
        if not samples:
            return []

        async def ask() -> Reply:
            async with self.session():
                return await self._call(render(self._template, *TRIAL), vote=0)

        try:
            with start_blocking_portal() as portal:
                reply = portal.call(ask)
        except CallFailed as error:
            raise OutsideFailure(
                f"the judge {self._endpoint.model!r} at {self._endpoint.url} was asked one question to try it out, and "
                f"failed: {error}. Nothing was sampled; fix it, or start it, and run again"
            ) from error
        finally:
            self._failures = 0
        return [f"the judge was asked one question to try it out: {reply.silence}"] if reply.silence else []

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        if not expected:
            return []
        calls, prompt = asked(expected, self._template, self._longest, self._per_call)
        calls, prompt = calls * self._votes, prompt * self._votes
        spent = self._store.spent()
        return [priced(self._endpoint.model, calls, prompt, calls * self._reply, self._budget, spent)]

    def memories(self) -> list[Memory]:
        return [self._store]

    def metrics(self) -> dict[str, float]:
        return {f"judge_{name}": value for name, value in self._store.spent().items()}

    async def _ask(self, case: "_Case", places: Sequence[int], again: bool = False) -> dict[int, Opinion | str]:
        """Opinions on some criteria by index, or why there is none."""
        try:
            reply = await self._call(
                render(self._template, case.conversation, case.answer, [case.criteria[place] for place in places]),
                case.vote,
            )
        except CallFailed as error:
            return dict.fromkeys(places, f"judge: {error}")
        reading = Reading({}, reply.silence) if reply.silence else read_reply(reply.text, len(places))
        found: dict[int, Opinion | str] = {places[number - 1]: said for number, said in reading.opinions.items()}
        for number, said in reading.opinions.items():
            self._store.put(case.keys[places[number - 1]], said)
        missing = [place for place in places if place not in found]
        if again:
            return found | dict.fromkeys(missing, f"judge: {reading.problem}")
        for alone in await asyncio.gather(*(self._ask(case, [place], again=True) for place in missing)):
            found |= alone
        return found

    async def _call(self, messages: list[dict[str, str]], vote: int) -> Reply:
        """One reply, paid for."""
        size = size_of(messages)
        estimate = math.ceil(size / BYTES_PER_TOKEN) + self._reply
        options = {"seed": vote} if self._votes > 1 else {}
        async with self._endpoint.slots:
            try:
                reply = await self._endpoint.ask(
                    messages, SCHEMA, estimate, options, partial(self._account.paying, size)
                )
            except CallFailed as error:
                self._failures += 1
                if self._failures >= self._most_failures:
                    raise OutsideFailure(self._down(error)) from error
                raise
        self._failures = 0
        return reply

    def _down(self, last: CallFailed) -> str:
        return (
            f"the judge failed {self._failures} times in a row, last: {last}. Its verdicts so far are kept in "
            f"{self._path or 'no file'}, and none was made up: fix the judge, then resume with --ckpt_path"
        )

    def _case(self, sample: RubricSample, answer: str, vote: int) -> "_Case":
        conversation = conversation_of(sample)
        long = max(len(conversation), len(answer)) > self._longest
        asked: Mapping[str, Any] = {
            "model": self._endpoint.model,  # without the URL: a judge may come back at another one
            "template": self._template.version,
            "options": self._options,
            "longest": self._longest,
            "messages": list(sample.messages),
            "answer": answer,
            "vote": vote if self._votes > 1 else None,
        }
        criteria = [criterion.text for criterion in sample.criteria]
        return _Case(
            shortened(conversation, self._longest),
            shortened(answer, self._longest),
            criteria,
            [_hash({**asked, "criterion": text}) for text in criteria],
            vote,
            (*([STEERING] if steers(answer) else ()), *([SHORTENED] if long else ())),
        )


@dataclass(frozen=True)
class _Case:
    """A response to judge, as shown to the judge, with the keys of its verdicts."""

    conversation: str
    answer: str
    criteria: Sequence[str]
    keys: Sequence[str]
    vote: int
    flags: tuple[str, ...]


def _hash(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
