"""Algorithms: experience to credit. One file each, named in YAML as ``model.init_args.algorithm``."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.algorithms.base import Algorithm
    from rtt_lightning.algorithms.cort import CoRT
    from rtt_lightning.algorithms.cripo import CriPO
    from rtt_lightning.algorithms.dynamic_sampling import DynamicSampling
    from rtt_lightning.algorithms.end_token import EndToken
    from rtt_lightning.algorithms.factored import FactoredRTT
    from rtt_lightning.algorithms.gdpo import GDPO
    from rtt_lightning.algorithms.grpo import GRPO
    from rtt_lightning.algorithms.papo import PAPO
    from rtt_lightning.algorithms.rloo import RLOO
    from rtt_lightning.algorithms.rtt import RTT
    from rtt_lightning.algorithms.rubric_dropout import RubricDropout
    from rtt_lightning.algorithms.without_truncated import WithoutTruncated
    from rtt_lightning.algorithms.wrapper import Wrapper

__all__ = [
    "GDPO",
    "GRPO",
    "PAPO",
    "RLOO",
    "RTT",
    "Algorithm",
    "CoRT",
    "CriPO",
    "DynamicSampling",
    "EndToken",
    "FactoredRTT",
    "RubricDropout",
    "WithoutTruncated",
    "Wrapper",
]

__getattr__, __dir__ = lazily(__name__)
