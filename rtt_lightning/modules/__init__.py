"""The LightningModules: the policy and the discriminator."""

from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.modules.policy import PolicyModule

__all__ = ["DiscriminatorModule", "PolicyModule"]
