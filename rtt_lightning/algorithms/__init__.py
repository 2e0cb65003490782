"""Algorithms: experience to credit. One file each, named in YAML as ``model.init_args.algorithm``."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.algorithms.base import Algorithm
    from rtt_lightning.algorithms.factored import FactoredRTT
    from rtt_lightning.algorithms.gdpo import GDPO
    from rtt_lightning.algorithms.grpo import GRPO
    from rtt_lightning.algorithms.rtt import RTT

__all__ = ["GDPO", "GRPO", "RTT", "Algorithm", "FactoredRTT"]

__getattr__, __dir__ = lazily(__name__)
