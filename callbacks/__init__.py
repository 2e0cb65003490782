"""Hooks that connect the rooms to a trainer."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.callbacks.canary import Canary
    from rtt_lightning.callbacks.checkpoints import Checkpoints
    from rtt_lightning.callbacks.guard import Guard
    from rtt_lightning.callbacks.idle import IdleWindows
    from rtt_lightning.callbacks.progress import Progress
    from rtt_lightning.callbacks.quality import DiscriminatorQuality
    from rtt_lightning.callbacks.rollout import RolloutCallback
    from rtt_lightning.callbacks.side_effects import SideEffects
    from rtt_lightning.callbacks.watch import RewardWatch

__all__ = [
    "Canary",
    "Checkpoints",
    "DiscriminatorQuality",
    "Guard",
    "IdleWindows",
    "Progress",
    "RewardWatch",
    "RolloutCallback",
    "SideEffects",
]

__getattr__, __dir__ = lazily(__name__)
