"""What is looked at when a run starts, before anything is sampled or paid for."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning.datamodules import RubricDataModule
from rtt_lightning.relevance.base import RelevanceSource
from rtt_lightning.reports.weights import say_if_ignored
from rtt_lightning.types import RubricSample
from rtt_lightning.verifiers.base import Verifier

SHOWN = 60
"""Characters of a criterion in a message."""


def refuse_undecidable(data: RubricDataModule, verifier: Verifier) -> None:
    """Refuse data whose criteria the verifier cannot decide, also since a server that it asks is down.

    Raises:
        ValueError: For criteria, see `RubricDataModule.check`.
        OutsideFailure: For the server, see `Verifier.try_out`.
    """
    data.check(verifier.problems)
    for doubt in verifier.try_out(data.samples()):
        rank_zero_warn(doubt)


def say_what_is_ignored(
    policy: Any, samples: Sequence[RubricSample], relevance: RelevanceSource, verifier: Verifier
) -> None:
    """Warn of weights and criteria of the training data that the policy's reward scheme makes nothing of."""
    say_if_ignored(policy.response_reward, samples)
    if policy.token_credit and (said := without_credit(samples, relevance, verifier)):
        rank_zero_warn(said)


def without_credit(samples: Sequence[RubricSample], relevance: RelevanceSource, verifier: Verifier) -> str:
    """That some criteria earn no token-level credit, whatever is answered; empty where all can.

    Raises:
        ValueError: If something that the relevance source needs is missing.
    """
    criteria = [criterion for sample in samples for criterion in sample.criteria]
    known = {(criterion.checker, criterion.text): criterion for criterion in criteria}
    blind = relevance.blind([*known.values()], verifier.gives_spans)
    if not blind:
        return ""
    kinds = Counter((criterion.checker, criterion.text) for criterion in criteria)
    number, total = sum(kinds[criterion.checker, criterion.text] for criterion in blind), kinds.total()
    return (
        f"{number} of {total} criteria earn no token-level credit from {type(relevance).__name__}, such as "
        f"{blind[0].text[:SHOWN]!r} ({blind[0].checker}): its relevance cannot vary within a response, so for them RTT "
        "equals GRPO. Choose another rollout.relevance, such as a discriminator that reads enough tokens"
    )
