"""The network that a configuration describes."""

import torch

from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.cross import CrossModel
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.one_pass import OnePassModel


def build(config: RelevanceConfig, base_dtype: torch.dtype = torch.float32) -> RelevanceModel:
    """See `RelevanceModel`.

    Raises:
        UserError: If the body cannot be read.
    """
    kind = OnePassModel if config.one_pass else CrossModel
    return kind(config, base_dtype)
