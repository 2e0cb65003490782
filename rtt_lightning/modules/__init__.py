"""The LightningModules: the policy and the discriminator."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.modules.discriminator import DiscriminatorModule
    from rtt_lightning.modules.policy import PolicyModule

__all__ = ["DiscriminatorModule", "PolicyModule"]

__getattr__, __dir__ = lazily(__name__)
