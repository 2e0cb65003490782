"""Relevance sources: which response tokens decide each criterion."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
    from rtt_lightning.relevance.contrast import CriteriaContrast, CriterionContrast
    from rtt_lightning.relevance.controls import RandomRelevance, UniformRelevance
    from rtt_lightning.relevance.discriminator.source import DiscriminatorRelevance
    from rtt_lightning.relevance.spans import RuleSpans

__all__ = [
    "CriteriaContrast",
    "CriterionContrast",
    "DiscriminatorRelevance",
    "RandomRelevance",
    "Relevance",
    "RelevanceSource",
    "RuleSpans",
    "ScoresResponses",
    "UniformRelevance",
]

__getattr__, __dir__ = lazily(__name__)
