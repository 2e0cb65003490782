"""Relevance sources: which response tokens decide which criterion."""

from rtt_lightning.relevance.base import RandomRelevance, RelevanceSource, RuleSpans, UniformRelevance
from rtt_lightning.relevance.discriminator.source import DiscriminatorRelevance

__all__ = ["DiscriminatorRelevance", "RandomRelevance", "RelevanceSource", "RuleSpans", "UniformRelevance"]
