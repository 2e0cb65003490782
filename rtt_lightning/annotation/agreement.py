"""How far an annotator agrees with the rules, where both say which characters decide."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import torch

from rtt_lightning.annotation.labels import RULE, Label, SetAside, labelled_by
from rtt_lightning.annotation.pipeline import Question
from rtt_lightning.functional.agreement import Agreement
from rtt_lightning.types import JudgedRollout, Span


@dataclass
class SpanAgreement:
    """An annotator beside the rules.

    Attributes:
        characters: Whether they are relevant, by the rule and by the annotator; of criteria that are local by rule.
        criteria: Criteria that both labelled.
        same_scope: Those to which both give the same scope.
        same_polarity: The same polarity.
        unlabelled: Criteria that the annotator was asked about in vain.
    """

    characters: Agreement = field(default_factory=Agreement)
    criteria: int = 0
    same_scope: int = 0
    same_polarity: int = 0
    unlabelled: int = 0

    @property
    def f1(self) -> float:
        """2 both / (2 both + relevant by one alone), over characters; NaN without any."""
        (_, annotator), (rule, both) = self.characters.counts[:2, :2].tolist()
        return 2 * both / (2 * both + rule + annotator) if both + rule + annotator else float("nan")

    def add(self, length: int, rule: Label, other: Label) -> None:
        """Count a criterion on an answer of so many characters."""
        self.criteria += 1
        self.same_scope += rule.scope == other.scope
        self.same_polarity += rule.polarity == other.polarity
        if rule.scope == "local":
            one, two = _characters(rule.spans), _characters(other.spans)
            counts = [[length - len(one | two), len(two - one)], [len(one - two), len(one & two)]]
            self.characters.counts[:2, :2] += torch.tensor(counts)


def by_rule(judged: Sequence[JudgedRollout], most: int) -> list[Question]:
    """Up to ``most`` criteria that rules labelled, drawn by a hash: the same ones each time."""
    candidates = [
        (crc32(f"{item.sample.id}/{item.rollout.answer}/{criterion.text}".encode("utf-8", "replace")), index, place)
        for index, item in enumerate(judged)
        if item.rollout.answer.strip()
        for place, (criterion, verdict) in enumerate(item.decisions)
        if verdict.met is not None and verdict.spans is not None and labelled_by(verdict) == RULE
    ]
    chosen: dict[int, list[int]] = {}
    for _, index, place in sorted(candidates)[:most]:
        chosen.setdefault(index, []).append(place)
    return [Question(index, judged[index], sorted(places)) for index, places in sorted(chosen.items())]


def compare(questions: Sequence[Question], labels: Sequence[Sequence[Label | SetAside]]) -> SpanAgreement:
    """The annotator's labels beside those of the rules, which stay."""
    found = SpanAgreement()
    for (_, item, places), answered in zip(questions, labels, strict=True):
        length = len(item.rollout.answer)
        for place, label in zip(places, answered, strict=True):
            verdict = item.verdicts[place]
            if isinstance(label, SetAside):
                found.unlabelled += 1
            else:
                found.add(length, Label(verdict.scope, verdict.polarity, verdict.relevant(length) or ()), label)
    return found


def _characters(spans: Sequence[Span]) -> set[int]:
    return {position for start, end in spans for position in range(start, end)}
