"""The discriminator as a relevance source: its network, its checkpoint, and the source."""

from rtt_lightning.relevance.discriminator.source import DiscriminatorRelevance

__all__ = ["DiscriminatorRelevance"]
