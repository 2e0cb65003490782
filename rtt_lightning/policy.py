"""Names of version 0.1; to be removed in the next release."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "PolicyModule":
        from rtt_lightning.modules import PolicyModule

        warnings.warn("rtt_lightning.policy.PolicyModule is now rtt_lightning.PolicyModule", FutureWarning, 2)
        return PolicyModule
    if name == "RTT":
        raise ImportError(
            "rtt_lightning.policy.RTT is an algorithm now, rtt_lightning.RTT, and no module: write "
            "PolicyModule(model, RTT(beta=0.5)) with rtt_lightning.PolicyModule; a scheme of your own derives "
            "from rtt_lightning.Algorithm, or from PolicyModule and overrides `advantages`"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
