"""The verdict from several opinions of a judge."""

from collections.abc import Sequence

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.base import JUDGE, unscorable
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
