"""Labels of a language model: which characters of a response decide its criteria."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtt_lightning.annotation.labels import ANNOTATOR, Decided, Label, SetAside
from rtt_lightning.types import Message, RubricSample
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.forecast import Expected, Forecast
from rtt_lightning.verifiers.judge.asker import Asker
from rtt_lightning.verifiers.judge.budget import Budget
from rtt_lightning.verifiers.judge.cost import asked, conversation_of
from rtt_lightning.verifiers.judge.endpoint import CallFailed
from rtt_lightning.verifiers.judge.evidence import EVIDENCE, Evidence, Misquoted
from rtt_lightning.verifiers.judge.limits import Limits
from rtt_lightning.verifiers.judge.prompts import Template, read_template, render, shortened
from rtt_lightning.verifiers.judge.replies import Form, Reading, read_entries, schema_of
from rtt_lightning.verifiers.judge.store import key_of
from rtt_lightning.verifiers.judge.verifier import TRIAL

DEFAULT = Path(__file__).with_name("template.txt")
SCHEMA = schema_of("labels", {"reason": {"type": "string"}, **EVIDENCE})
LABELS: Form[Evidence] = Form("labels", "segments", Evidence.from_row, lambda one, other: one == other, what="label")


class LLMAnnotator:
    """Asks a model on an OpenAI-compatible server which words of a response decide its criteria.

    What it quotes must stand in the response; else it is asked about the criterion again, alone, and then the criterion
    is set aside. Labels are kept in a file: a run that ended goes on without asking twice.

    Args:
        model: Name of the model on the server; null if there is nothing to ask.
        url: Of the server, up to ``/v1``; null for OpenAI's own.
        key_variable: Environment variable with the key; null for OPENAI_API_KEY with OpenAI's own server, and no key
            with another.
        template: File with the prompt; null for the built-in one.
        criteria_per_call: Criteria that one call asks about.
        max_completion_tokens: Most tokens of a reply.
        max_characters: Longest response to ask about; criteria of longer ones are set aside. A longer prompt is shown
            without its middle.
        temperature: Of sampling the reply; null leaves it to the server.
        structured: Ask the server to follow a JSON schema if it can.
        options: More fields of the request; null leaves a field out.
        limits: How hard the server may be asked.
        budget: What may be spent.
        file: SQLite file of labels and spending, on a local disk; null to keep neither.
        failures_in_a_row: Failed calls in a row that end the run.
    """

    def __init__(
        self,
        model: str | None = None,
        url: str | None = None,
        key_variable: str | None = None,
        template: str | None = None,
        criteria_per_call: int = 8,
        max_completion_tokens: int = 2048,
        max_characters: int = 48_000,
        temperature: float | None = 0.0,
        structured: bool = True,
        options: dict[str, Any] | None = None,
        limits: Limits = Limits(),
        budget: Budget = Budget(),
        file: str | None = "runs/annotator.sqlite",
        failures_in_a_row: int = 20,
    ) -> None:
        if min(criteria_per_call, max_characters) < 1:
            raise UserError(
                f"criteria_per_call and max_characters must be at least 1, got {criteria_per_call} and {max_characters}"
            )
        self.template = read_template(Path(template) if template else DEFAULT, like=DEFAULT)
        self._per_call, self.longest, self.has_model = criteria_per_call, max_characters, model is not None
        self.asker = Asker(
            ANNOTATOR,
            "run the same command again, which goes on from there",
            model=model or "",
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
        """Surrounds all questions of an event loop."""
        async with self.asker.session():
            yield

    def problems(self) -> list[str]:
        """What is missing to ask anything, in words."""
        if not self.has_model:
            return ["there is no annotator: set --annotator.model, and --annotator.url for a server of your own"]
        return self.asker.problems()

    def require(self) -> None:
        """Raise a `UserError` if nothing can be asked, see `problems`."""
        if problems := self.problems():
            raise UserError("; ".join(problems))

    def try_out(self) -> list[str]:
        """Ask one small question, without keeping the answer; see `require` and `Asker.try_out`."""
        self.require()
        prompt, answer, criteria = TRIAL
        shown = [Decided(text, met=True).shown for text in criteria]
        return self.asker.try_out(render(self.template, prompt, answer, shown), SCHEMA)

    def foresee(
        self, questions: Sequence[tuple[RubricSample, str]], template: Template | None = None
    ) -> list[Forecast]:
        """What answers about all criteria of these samples and responses will cost, criteria as they will be shown:
        labels; or with another template, which asks about all at once, what that is for.
        """
        expected = [
            Expected(sample, 1, len(answer.encode("utf-8", "replace")))
            for sample, answer in questions
            if len(answer) <= self.longest
        ]
        per_call = max(len(sample.criteria) for sample, _ in questions) if template else self._per_call
        size = asked(expected, template or self.template, self.longest, per_call)
        return [self.asker.forecast(*size)] if expected else []

    async def label(self, sample: RubricSample, answer: str, decided: Sequence[Decided]) -> list[Label | SetAside]:
        """A label for each criterion, or why there is none.

        Args:
            sample: That the answer is to; its own criteria are not used.
            answer: Not blank.
            decided: Criteria to label.
        """
        if len(answer) > self.longest:
            return [SetAside("the response is longer than the annotator's max_characters")] * len(decided)
        case = self._case(sample, answer, decided)
        found: dict[int, Label | SetAside] = {}
        for place, key in enumerate(case.keys):
            if (row := self.asker.store.get(key)) is not None and (kept := Evidence.from_row(row)) is not None:
                found[place] = case.label(place, kept)
        left = [place for place in range(len(decided)) if place not in found]
        calls = [left[start : start + self._per_call] for start in range(0, len(left), self._per_call)]
        for labels in await asyncio.gather(*(self._ask(case, call) for call in calls)):
            found |= labels
        return [found[place] for place in range(len(decided))]

    async def _ask(
        self, case: "_Case", places: Sequence[int], again: bool = False, correction: Sequence[Message] = ()
    ) -> "dict[int, Label | SetAside]":
        """Labels of some criteria by index, or why there is none."""
        messages = render(
            self.template, case.conversation, case.answer, [case.decided[place].shown for place in places]
        )
        try:
            reply = await self.asker.call([*messages, *correction], SCHEMA)
        except CallFailed as error:
            failed = SetAside("the annotator did not answer", str(error), unanswered=not error.is_refusal)
            return dict.fromkeys(places, failed)
        reading = Reading({}, reply.silence) if reply.silence else read_entries(reply.text, len(places), LABELS)
        said = {places[number - 1]: evidence for number, evidence in reading.opinions.items()}
        found: dict[int, Label | SetAside] = {}
        for place in places:
            if place not in said:
                found[place] = SetAside("no readable label", self.asker.named(reading.problem))
                continue
            found[place] = case.label(place, said[place])
            if again or isinstance(found[place], Label):  # a wrong one as well, once it is final
                self.asker.store.put(case.keys[place], said[place].to_row())
        if not again:
            wrong = [place for place, label in found.items() if isinstance(label, SetAside)]
            for labels in await asyncio.gather(*(self._correct(case, place, said.get(place)) for place in wrong)):
                found |= labels
        return found

    async def _correct(self, case: "_Case", place: int, said: Evidence | None) -> dict[int, Label | SetAside]:
        """Ask about one criterion again, saying what was wrong with its label if there was one."""
        return await self._ask(case, [place], again=True, correction=case.correction(place, said) if said else ())

    def _case(self, sample: RubricSample, answer: str, decided: Sequence[Decided]) -> "_Case":
        question = self.question(sample, answer, self.template.version)
        conversation = shortened(conversation_of(sample), self.longest)
        return _Case(conversation, answer, decided, [key_of(question | {"label": each.shown}) for each in decided])

    def question(self, sample: RubricSample, answer: str, template: str) -> dict[str, Any]:
        """What an answer about a response depends on, besides the criteria."""
        return {
            "model": self.asker.model,
            "template": template,
            "options": self.asker.options,
            "longest": self.longest,
            "messages": list(sample.messages),
            "answer": answer,
        }


@dataclass(frozen=True)
class _Case:
    """A response to label, as shown to the annotator, with the keys of its labels."""

    conversation: str
    answer: str
    decided: Sequence[Decided]
    keys: Sequence[str]

    def label(self, place: int, evidence: Evidence) -> Label | SetAside:
        spans = evidence.spans(self.decided[place].met, self.answer)
        if isinstance(spans, Misquoted):
            kind, _, detail = spans.partition(": ")
            return SetAside(kind, detail)
        return Label(evidence.scope, evidence.polarity, spans)

    def correction(self, place: int, evidence: Evidence) -> list[Message]:
        """What a model is told after it labelled a criterion wrongly: its own words, and what is wrong with them."""
        said = json.dumps({"labels": [{"criterion": 1, **evidence.to_row()}]}, ensure_ascii=False)
        wrong = evidence.spans(self.decided[place].met, self.answer)
        asked = f"Your segments cannot be used: {wrong}. Answer again, with words copied from the response."
        return [{"role": "assistant", "content": said}, {"role": "user", "content": asked}]
