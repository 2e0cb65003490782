"""Relevance sources: which response tokens decide which criterion."""

from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.relevance.controls import RandomRelevance, UniformRelevance
from rtt_lightning.relevance.discriminator import DiscriminatorRelevance
from rtt_lightning.relevance.spans import RuleSpans

__all__ = [
    "DiscriminatorRelevance",
    "RandomRelevance",
    "Relevance",
    "RelevanceSource",
    "RuleSpans",
    "ScoresResponses",
    "UniformRelevance",
]
