"""The verdict from several opinions of a judge."""

from collections.abc import Sequence
from dataclasses import replace

from rtt_lightning.types import MISQUOTED, Verdict
from rtt_lightning.verifiers.base import JUDGE, unscorable
from rtt_lightning.verifiers.judge.evidence import Misquoted
from rtt_lightning.verifiers.judge.replies import Opinion


def majority(votes: Sequence[Opinion | str]) -> Verdict:
    """The majority of the opinions, with their share as confidence; unscorable without opinions, or on a tie."""
    opinions = [vote for vote in votes if isinstance(vote, Opinion)]
    yes = sum(opinion.met for opinion in opinions)
    if not opinions:
        return unscorable(str(votes[0]))
    if 2 * yes == len(opinions):
        return unscorable(f"judge: a tie of {len(opinions)} votes")
    met = 2 * yes > len(opinions)
    reason = next(opinion.reason for opinion in opinions if opinion.met == met)
    agree = yes if met else len(opinions) - yes
    share = f" ({agree} of {len(opinions)} votes)" if len(votes) > 1 else ""
    return Verdict(met, f"{JUDGE}: {reason}{share}", confidence=agree / len(opinions))


def with_evidence(verdict: Verdict, votes: Sequence[Opinion | str], answer: str) -> Verdict:
    """A verdict with the spans that the first opinion of the majority quotes; flagged, with unknown spans, if none
    quotes the answer word for word.
    """
    if verdict.met is None:
        return verdict
    said = [vote.evidence for vote in votes if isinstance(vote, Opinion) and vote.met == verdict.met and vote.evidence]
    for evidence in said:
        spans = evidence.spans(verdict.met, answer)
        if not isinstance(spans, Misquoted):
            return replace(verdict, spans=spans, scope=evidence.scope, polarity=evidence.polarity, spans_by=JUDGE)
    return replace(verdict, flags=(*verdict.flags, MISQUOTED))
