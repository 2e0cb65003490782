"""Responses that break exactly one criterion, made from compliant ones by the smallest edit: the paper's first kind of
negatives. A model proposes edits; only those that the verifier confirms are kept.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from rtt_lightning.annotation.annotator import LLMAnnotator
from rtt_lightning.annotation.labels import SetAside
from rtt_lightning.annotation.pipeline import Question, concurrently, refuse_unanswered
from rtt_lightning.types import JudgedRollout, Rollout, RubricSample
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.judge.cost import conversation_of
from rtt_lightning.verifiers.judge.endpoint import CallFailed
from rtt_lightning.verifiers.judge.evidence import locate
from rtt_lightning.verifiers.judge.prompts import read_template, render, shortened
from rtt_lightning.verifiers.judge.replies import Form, Reading, read_entries, schema_of
from rtt_lightning.verifiers.judge.store import key_of

EDITED = "edited"
"""Flag of the verdict on a criterion that was broken by an edit."""
TEMPLATE = read_template(Path(__file__).with_name("edit.txt"))
TEXT = {"type": "string"}
REPLACEMENT = {
    "type": "object",
    "properties": {"find": TEXT, "replace": TEXT},
    "required": ["find", "replace"],
    "additionalProperties": False,
}
SCHEMA = schema_of("edits", {"reason": TEXT, "replacements": {"type": "array", "items": REPLACEMENT}})


class Replacement(NamedTuple):
    """Words of a response, and what stands in their place."""

    find: str
    replace: str


def _replacements(entry: Mapping[str, Any]) -> list[Replacement] | None:
    """What an entry of a reply says; ``None`` if it is no list of replacements."""
    found = entry.get("replacements")
    if not isinstance(found, list) or not found:
        return None
    texts = [(each.get("find"), each.get("replace")) if isinstance(each, dict) else (None, None) for each in found]
    if not all(isinstance(text, str) for pair in texts for text in pair):
        return None
    return [Replacement(*(str(text).encode("utf-8", "replace").decode() for text in pair)) for pair in texts]


EDITS: Form[list[Replacement]] = Form(
    "edits", "replacements", _replacements, lambda one, other: one == other, what="edit"
)


def to_break(judged: Sequence[JudgedRollout], most: int) -> list[Question]:
    """Up to ``most`` responses with one met criterion each, both drawn by a hash: the same ones each time."""
    found: list[tuple[int, Question]] = []
    for row, item in enumerate(judged):
        met = (
            [place for place, verdict in enumerate(item.verdicts) if verdict.met] if item.rollout.answer.strip() else []
        )
        if met:
            drawn = crc32(f"{item.sample.id}/{item.rollout.answer}".encode("utf-8", "replace"))
            found.append((drawn, Question(row, item, [met[drawn % len(met)]])))
    return [question for _, question in sorted(found, key=lambda pair: (pair[0], pair[1].row))[:most]]


def shown_to_editor(question: Question) -> tuple[RubricSample, str]:
    """A sample whose criteria say what to do with them, that to break first; and the answer."""
    (_, item, [broken]) = question
    marked = [
        replace(
            criterion, text=f"[{'break' if place == broken else 'met' if verdict.met else 'not met'}] {criterion.text}"
        )
        for place, (criterion, verdict) in enumerate(item.decisions)
        if verdict.met is not None
    ]
    marked.sort(key=lambda criterion: not criterion.text.startswith("[break]"))
    return replace(item.sample, criteria=tuple(marked)), item.rollout.answer


def edited(replacements: Sequence[Replacement], answer: str) -> str | SetAside:
    """An answer with replacements, each wherever its words stand."""
    places = [(*span, new) for old, new in replacements for span in locate(old, answer)]
    absent = [old for old, _ in replacements if not locate(old, answer)]
    places.sort()
    if absent:
        return SetAside("the words to replace are not in the response", repr(absent[0]))
    if any(end > start for (_, end, _), (start, _, _) in pairwise(places)):
        return SetAside("the replacements overlap")
    for start, end, new in reversed(places):
        answer = answer[:start] + new + answer[end:]
    return answer if answer.strip() else SetAside("nothing is left of the response")


async def propose(annotator: LLMAnnotator, question: Question) -> str | SetAside:
    """An edited answer, not verified yet."""
    sample, answer = shown_to_editor(question)
    if len(answer) > annotator.longest:
        return SetAside("the response is longer than the annotator's max_characters")
    texts = [criterion.text for criterion in sample.criteria]
    key = key_of(annotator.question(sample, answer, TEMPLATE.version) | {"edit": texts})
    if (kept := annotator.asker.store.get(key)) and (known := _replacements(kept)):
        return edited(known, answer)
    messages = render(TEMPLATE, shortened(conversation_of(sample), annotator.longest), answer, texts)
    try:
        reply = await annotator.asker.call(messages, SCHEMA)
    except CallFailed as error:
        return SetAside("the annotator did not answer", str(error), unanswered=not error.is_refusal)
    reading = Reading({}, reply.silence) if reply.silence else read_entries(reply.text, 1, EDITS)
    if 1 not in reading.opinions:
        return SetAside("no readable edit", annotator.asker.named(reading.problem))
    said = reading.opinions[1]
    annotator.asker.store.put(key, {"replacements": [each._asdict() for each in said]})
    return edited(said, answer)


@dataclass(frozen=True)
class Broken:
    """Edited responses that the verifier confirmed, and what became of all, by what happened."""

    judged: list[JudgedRollout]
    counts: Counter[str]


def break_some(annotator: LLMAnnotator, verifier: Verifier, questions: Sequence[Question]) -> Broken:
    """Ask for edits and verify them: the one criterion must be unmet then, the others as before.

    Raises:
        OutsideFailure: As `rtt_lightning.annotation.pipeline.ask`.
    """
    calls = [partial(propose, annotator, question) for question in questions]
    proposed = concurrently(annotator.session(), calls, "responses edited")
    refuse_unanswered(proposed)
    made = [(question, text) for question, text in zip(questions, proposed, strict=True) if isinstance(text, str)]
    checks = [partial(verifier.verify, question.item.sample, text) for question, text in made]
    verdicts = concurrently(verifier.session(), checks, "edits judged")
    counts = Counter(f"dropped: {each.kind}" for each in proposed if isinstance(each, SetAside))
    found = []
    for (question, text), new in zip(made, verdicts, strict=True):
        item, [broken] = question.item, question.places
        wanted = [verdict.met if place != broken else False for place, verdict in enumerate(item.verdicts)]
        if [verdict.met for verdict in new] != wanted:
            still = "the criterion is not broken" if new[broken].met is not False else "other criteria changed"
            counts[f"dropped: {still}"] += 1
            continue
        counts["edited to break one criterion"] += 1
        new[broken] = replace(new[broken], flags=(*new[broken].flags, EDITED))
        rollout = Rollout.of_text(item.sample.id, text, None, item.rollout.group_id, item.rollout.sample_index)
        found.append(JudgedRollout(item.sample, rollout, tuple(new)))
    return Broken(found, counts)
