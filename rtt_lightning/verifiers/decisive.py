"""Verdicts whose spans are decisive: not what is mentioned, but what the verdict depends on."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from rtt_lightning.functional.counterfactual import (
    Kept,
    by_the_greatest,
    leave_one_out,
    one_by_one,
    shapley,
    subsets,
    without,
)
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.types import Criterion, RubricSample, Span, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import JUDGE, Memory, Verifier
from rtt_lightning.verifiers.forecast import Expected, Forecast
from rtt_lightning.verifiers.rules import RuleVerifier


class DecisiveSpans(Verifier):
    """A verifier's verdicts, of whose spans only those stay that the verdict depends on.

    The verifier is asked again about the answer without them, one by one (leave-one-out). Of three uses of a word that
    is asked for once none counts, as each could be left out; of two forbidden words both do, see
    `rtt_lightning.functional.counterfactual`.

    With `RuleSpans` the spans are relevance; in files of completions they are labels for a discriminator. Whether
    criteria are met does not change, nor do verdicts on a global criterion, without spans, or by an absence.

    Where a counterfactual verdict is unscorable, the span stays relevant, as without this class: nothing shows that it
    is redundant. ``spans_undecided`` counts such spans, and a warning gives the first reason.

    Args:
        verifier: Gives the verdicts, and those on the answers without spans.
        shares: Give each span its Shapley value, divided by the greatest, instead of 0 or 1: redundant spans share what
            is decided. This asks 2^n times about n spans; more than 8 are left out one by one.
        whole_if_redundant: Where no span is decisive, the whole answer is relevant; by default nothing is. Within a
            response (`intra_sample`) neither gives credit; between responses (`inter_sample`) the whole answer would
            be rewarded once more, and a discriminator would learn that the criterion is global.
        judged: Also ask a judge about answers without spans (its criteria have spans only where something gives them):
            a question each, in its budget and kept in its file; no forecast counts them.
        most_spans: A verdict with more spans keeps all of them, as undecided.

    Raises:
        UserError: If ``most_spans`` is below 1.
    """

    def __init__(
        self,
        verifier: Verifier = lazy_instance(RuleVerifier),
        shares: bool = False,
        whole_if_redundant: bool = False,
        judged: bool = False,
        most_spans: int = 64,
    ) -> None:
        if most_spans < 1:
            raise UserError(f"most_spans must be at least 1, got {most_spans}")
        self._verifier, self._shares, self._whole = verifier, shares, whole_if_redundant
        self._judged, self._most_spans = judged, most_spans
        self._asked = self._undecided = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        async with self._verifier.session():
            yield

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        verdicts = await self._verifier.verify(sample, answer)
        pairs = zip(sample.criteria, verdicts, strict=True)
        return await asyncio.gather(
            *(self._decisive(replace(sample, criteria=(criterion,)), answer, found) for criterion, found in pairs)
        )

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        return await self._verifier.verify_loosely(sample, answer, strict)

    def problems(self, sample: RubricSample) -> list[str]:
        return self._verifier.problems(sample)

    def try_out(self, samples: Sequence[RubricSample]) -> list[str]:
        return self._verifier.try_out(samples)

    def foresee(self, expected: Sequence[Expected]) -> list[Forecast]:
        return self._verifier.foresee(expected)

    def gives_spans(self, criterion: Criterion) -> bool:
        return self._verifier.gives_spans(criterion)

    def metrics(self) -> dict[str, float]:
        own = {"counterfactuals": float(self._asked), "spans_undecided": float(self._undecided)}
        return self._verifier.metrics() | own

    def memories(self) -> list[Memory]:
        return self._verifier.memories()

    async def _decisive(self, sample: RubricSample, answer: str, verdict: Verdict) -> Verdict:
        """The verdict with its decisive spans. The sample has one criterion."""
        criterion, spans = sample.criteria[0], tuple(sorted({*(verdict.spans or ())}))
        from_a_model = criterion.checker == JUDGE or verdict.spans_by != ""
        if verdict.met is None or verdict.scope == "global" or not spans or (from_a_model and not self._judged):
            return verdict
        if len(spans) > self._most_spans:
            self._leave(len(spans), f"{len(spans)} spans are more than most_spans {self._most_spans}")
            return verdict
        desired, fair = verdict.as_desired(criterion) is True, self._shares and len(spans) <= MOST_SHARED
        kept = subsets(len(spans)) if fair else one_by_one(len(spans), desired)
        holds = await self._ask(sample, answer, verdict, spans, kept)
        if not fair:
            counts = leave_one_out([holds[some] for some in kept], desired)
        elif (known := {some: held for some, held in holds.items() if held is not None}).keys() == holds.keys():
            counts = by_the_greatest(shapley(known, len(spans)))
        else:
            counts = [1.0] * len(spans)
        decisive = [(span, count) for span, count in zip(spans, counts, strict=True) if count > 0]
        if not decisive and self._whole:
            decisive = [((0, len(answer)), 1.0)]
        return replace(
            verdict,
            spans=tuple(span for span, _ in decisive),
            span_relevance=tuple(count for _, count in decisive) if any(count < 1 for _, count in decisive) else (),
            spans_by=SHAPLEY if fair else LEAVE_ONE_OUT,
        )

    async def _ask(
        self, sample: RubricSample, answer: str, verdict: Verdict, spans: Sequence[Span], kept: Sequence[Kept]
    ) -> dict[Kept, bool | None]:
        """Whether the verdict holds with some spans kept. Each text is asked about once, the answer itself never."""
        texts = {some: without(answer, [span for i, span in enumerate(spans) if i not in some]) for some in kept}
        questions = [text for text in dict.fromkeys(texts.values()) if text != answer]
        found = await asyncio.gather(*(self._verifier.verify(sample, text) for text in questions))
        self._asked += len(questions)
        verdicts = {answer: verdict} | {text: again for text, (again,) in zip(questions, found, strict=True)}
        again = {some: verdicts[text] for some, text in texts.items()}
        unknown = [verdict.reason for verdict in again.values() if verdict.met is None]
        if unknown:
            self._leave(min(len(unknown), len(spans)), f"{sample.criteria[0].text!r}: {unknown[0]}")
        return {some: None if new.met is None else new.met == verdict.met for some, new in again.items()}

    def _leave(self, spans: int, reason: str) -> None:
        """Count spans that nothing was found out about, and say so the first time."""
        if not self._undecided:
            warnings.warn(
                f"whether a span decides could not be decided, and it stays relevant: {reason}; "
                "rollout/spans_undecided counts such spans",
                stacklevel=2,
            )
        self._undecided += spans


MOST_SHARED = 8
"""Most spans of a verdict that share it: 256 questions."""
LEAVE_ONE_OUT, SHAPLEY = "leave-one-out", "shapley"
"""Who gave the spans."""
