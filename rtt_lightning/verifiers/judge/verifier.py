"""Verdicts of a language model."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtt_lightning.types import SHORTENED, STEERING, Criterion, RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import JUDGE, Memory, Verifier
from rtt_lightning.verifiers.forecast import Expected, Forecast
from rtt_lightning.verifiers.judge.asker import Asker
from rtt_lightning.verifiers.judge.budget import Budget
from rtt_lightning.verifiers.judge.cost import asked, conversation_of
from rtt_lightning.verifiers.judge.endpoint import CallFailed
from rtt_lightning.verifiers.judge.limits import Limits
from rtt_lightning.verifiers.judge.prompts import DEFAULT, WITH_EVIDENCE, read_template, render, shortened, steers
from rtt_lightning.verifiers.judge.replies import SCHEMA, SCHEMA_WITH_EVIDENCE, Opinion, Reading, read_reply
from rtt_lightning.verifiers.judge.store import key_of
from rtt_lightning.verifiers.judge.votes import majority, with_evidence

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
        evidence: Also ask which words of the response decide, in the same call: spans of its verdicts, for
            token-level credit (RuleSpans) and as labels. A ``template`` of your own must ask for them too.
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
        evidence: bool = False,
    ) -> None:
        if votes < 1 or (votes > 1 and temperature == 0):
            raise UserError(f"votes must be >= 1, and more than one need a temperature above 0; got {votes}")
        if min(criteria_per_call, max_characters) < 1:
            raise UserError(
                f"criteria_per_call and max_characters must be at least 1, got {criteria_per_call} and {max_characters}"
            )
        self._template = read_template(Path(template) if template else WITH_EVIDENCE if evidence else DEFAULT)
        self._per_call, self._longest, self._votes = criteria_per_call, max_characters, votes
        self._evidence, self._schema = evidence, SCHEMA_WITH_EVIDENCE if evidence else SCHEMA
        self._asker = Asker(
            JUDGE,
            "run again; a run with checkpoints can resume with --ckpt_path",
            model=model,
            url=url,
            key_variable=key_variable,
            max_completion_tokens=max_completion_tokens,
            temperature=temperature,
            structured=structured,
            options=options,
            limits=limits,
            budget=budget,
            file=file,
            failures_in_a_row=failures_in_a_row,
        )

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        async with self._asker.session():
            yield

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        if not answer.strip():
            return [Verdict(False, "empty answer")] * len(sample.criteria)
        cases = [self._case(sample, answer, vote) for vote in range(self._votes)]
        opinions = await asyncio.gather(*(self._opinions(case) for case in cases))
        verdicts = [self._verdict(votes, answer) for votes in zip(*opinions, strict=True)]
        return [replace(verdict, flags=(*cases[0].flags, *verdict.flags)) for verdict in verdicts]

    def _verdict(self, votes: "Sequence[Opinion | str]", answer: str) -> Verdict:
        verdict = majority(votes)
        whole = len(answer) <= self._longest  # of a part of it, the words that decide are not known
        return with_evidence(verdict, votes, answer) if self._evidence and whole else verdict

    async def _opinions(self, case: "_Case") -> "list[Opinion | str]":
        """One per criterion, stored or new."""
        found: dict[int, Opinion | str] = {}
        for place, key in enumerate(case.keys):
            if (row := self._asker.store.get(key)) is not None and (kept := Opinion.from_row(row)) is not None:
                found[place] = kept
        left = [place for place in range(len(case.keys)) if place not in found]
        calls = [left[start : start + self._per_call] for start in range(0, len(left), self._per_call)]
        for opinions in await asyncio.gather(*(self._ask(case, call) for call in calls)):
            found |= opinions
        return [found[place] for place in range(len(case.keys))]

    def problems(self, sample: RubricSample) -> list[str]:
        return self._asker.problems()

    def gives_spans(self, criterion: Criterion) -> bool:
        return self._evidence

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        """Judge one small answer, without keeping the verdict."""
        return self._asker.try_out(render(self._template, *TRIAL), self._schema, self._seed(0)) if samples else []

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        if not expected:
            return []
        calls, prompt = asked(expected, self._template, self._longest, self._per_call)
        return [self._asker.forecast(calls * self._votes, prompt * self._votes)]

    def memories(self) -> list[Memory]:
        return [self._asker.store]

    def metrics(self) -> dict[str, float]:
        return {f"judge_{name}": value for name, value in self._asker.store.spent().items()}

    async def _ask(self, case: "_Case", places: Sequence[int], again: bool = False) -> dict[int, Opinion | str]:
        """Opinions on some criteria by index, or why there is none."""
        try:
            criteria = [case.criteria[place] for place in places]
            messages = render(self._template, case.conversation, case.answer, criteria)
            reply = await self._asker.call(messages, self._schema, self._seed(case.vote))
        except CallFailed as error:
            return dict.fromkeys(places, f"judge: {error}")
        reading = Reading({}, reply.silence) if reply.silence else read_reply(reply.text, len(places))
        found: dict[int, Opinion | str] = {places[number - 1]: said for number, said in reading.opinions.items()}
        for number, said in reading.opinions.items():
            self._asker.store.put(case.keys[places[number - 1]], said.to_row())
        missing = [place for place in places if place not in found]
        if again:
            return found | dict.fromkeys(missing, f"judge: {reading.problem}")
        for alone in await asyncio.gather(*(self._ask(case, [place], again=True) for place in missing)):
            found |= alone
        return found

    def _seed(self, vote: int) -> int | None:
        """Votes on one criterion differ in it; a single one sends none."""
        return vote if self._votes > 1 else None

    def _case(self, sample: RubricSample, answer: str, vote: int) -> "_Case":
        conversation = conversation_of(sample)
        long = max(len(conversation), len(answer)) > self._longest
        asked: Mapping[str, Any] = {
            "model": self._asker.model,  # without the URL: a judge may come back at another one
            "template": self._template.version,
            "options": self._asker.options,
            "longest": self._longest,
            "messages": list(sample.messages),
            "answer": answer,
            "vote": self._seed(vote),
            **({"evidence": True} if self._evidence else {}),
        }
        criteria = [criterion.text for criterion in sample.criteria]
        return _Case(
            shortened(conversation, self._longest),
            shortened(answer, self._longest),
            criteria,
            [key_of({**asked, "criterion": text}) for text in criteria],
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
