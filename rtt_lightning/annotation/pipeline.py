"""The stages of labelling: undecided criteria get verdicts, and those whose characters nobody knows get labels."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from anyio.from_thread import start_blocking_portal

from rtt_lightning.annotation.annotator import LLMAnnotator
from rtt_lightning.annotation.labels import Decided, Label, SetAside, unknown
from rtt_lightning.runtime.terminal import announced
from rtt_lightning.types import JudgedRollout, OutsideFailure, RubricSample, Verdict
from rtt_lightning.verifiers.base import CODE, JUDGE, Verifier

Answer = TypeVar("Answer")


class Question(NamedTuple):
    """A response, by its row among others, and the indices of the criteria to ask about."""

    row: int
    item: JudgedRollout
    places: list[int]

    @property
    def part(self) -> tuple[RubricSample, str]:
        """The sample with these criteria alone, and the answer."""
        criteria = tuple(self.item.sample.criteria[place] for place in self.places)
        return replace(self.item.sample, criteria=criteria), self.item.rollout.answer

    @property
    def decided(self) -> list[Decided]:
        """The criteria as an annotator is asked about them."""
        criteria, verdicts = self.item.sample.criteria, self.item.verdicts
        return [Decided(criteria[place].text, bool(verdicts[place].met)) for place in self.places]

    @property
    def shown(self) -> tuple[RubricSample, str]:
        """`part` with the criteria as an annotator sees them; for a forecast."""
        sample, answer = self.part
        pairs = zip(sample.criteria, self.decided, strict=True)
        return replace(sample, criteria=tuple(replace(old, text=new.shown) for old, new in pairs)), answer


def to_decide(judged: Iterable[JudgedRollout]) -> list[Question]:
    """What the verifier should be asked: undecided criteria, but not those with spans, which are labels already; and
    criteria of rules without spans, which cost nothing.
    """
    found = []
    for index, item in enumerate(judged):
        ruled = [place for place in unknown(item) if item.sample.criteria[place].checker not in (JUDGE, CODE)]
        left = [place for place, verdict in enumerate(item.verdicts) if verdict.met is None and verdict.spans is None]
        places = sorted(left + ruled)
        found.append(Question(index, item, places))
    return [question for question in found if question.places]


def decide(verifier: Verifier, judged: Sequence[JudgedRollout]) -> list[JudgedRollout]:
    """The same responses with verdicts on what was undecided. Given ones stay; a rule that agrees adds its spans."""
    verdicts = [list(item.verdicts) for item in judged]
    questions = to_decide(judged)
    calls = [partial(verifier.verify, *question.part) for question in questions]
    answers = concurrently(verifier.session(), calls, "responses judged")
    for question, answered in zip(questions, answers, strict=True):
        row = verdicts[question.row]
        for place, new in zip(question.places, answered, strict=True):
            old = row[place]
            if old.met is None:
                row[place] = new
            elif old.met == new.met and new.spans is not None:
                row[place] = replace(
                    new, reason=old.reason, flags=old.flags, value=old.value, confidence=old.confidence
                )
    return _with_verdicts(judged, verdicts)


def concurrently(
    session: AbstractAsyncContextManager[None], calls: Sequence[Callable[[], Awaitable[Answer]]], what: str
) -> list[Answer]:
    """What calls return, all made within a session; a line per minute says how many of what are done."""
    if not calls:
        return []
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(session):
        pending = [portal.start_task_soon(call) for call in calls]
        return [future.result() for future in announced(pending, len(pending), what)]


def to_label(judged: Iterable[JudgedRollout]) -> list[Question]:
    """What an annotator should be asked."""
    return [Question(index, item, places) for index, item in enumerate(judged) if (places := unknown(item))]


def ask(annotator: LLMAnnotator, questions: Sequence[Question]) -> list[list[Label | SetAside]]:
    """Labels, concurrently.

    Raises:
        OutsideFailure: If the server is down or the budget spent; and at the end, if it left calls without an answer.
            What was answered is kept in the annotator's file.
    """
    calls = [partial(annotator.label, each.item.sample, each.item.rollout.answer, each.decided) for each in questions]
    found = concurrently(annotator.session(), calls, "responses labelled")
    refuse_unanswered([label for labels in found for label in labels])
    return found


def refuse_unanswered(answers: Sequence[object]) -> None:
    """End the run if the server left calls without an answer: what it answered is kept, and the rest can be asked."""
    left = [answer for answer in answers if isinstance(answer, SetAside) and answer.unanswered]
    if left:
        raise OutsideFailure(
            f"{len(left)} of {len(answers)} questions got no answer from the annotator, the last: {left[-1].detail}. "
            "The other answers are kept: run the same command again, which asks these alone"
        )


def with_labels(
    judged: Sequence[JudgedRollout], questions: Sequence[Question], labels: Sequence[Sequence[Label | SetAside]]
) -> tuple[list[JudgedRollout], list[SetAside]]:
    """The same responses with the labels that answer questions about them, and why other criteria have none."""
    verdicts, aside = [list(item.verdicts) for item in judged], list[SetAside]()
    for question, answered in zip(questions, labels, strict=True):
        row = verdicts[question.row]
        for place, label in zip(question.places, answered, strict=True):
            if isinstance(label, SetAside):
                aside.append(label)
            else:
                row[place] = label.on(row[place])
    return _with_verdicts(judged, verdicts), aside


def _with_verdicts(judged: Sequence[JudgedRollout], verdicts: Iterable[Sequence[Verdict]]) -> list[JudgedRollout]:
    """The same responses with other verdicts, without what was made from the old ones."""
    return [JudgedRollout(old.sample, old.rollout, tuple(new)) for old, new in zip(judged, verdicts, strict=True)]
