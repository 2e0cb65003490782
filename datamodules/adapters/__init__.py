"""Known data formats; an adapter turns each into the record schema."""

import difflib

from rtt_lightning.datamodules.adapters.advancedif import AdvancedIF
from rtt_lightning.datamodules.adapters.base import Adapter, Native
from rtt_lightning.datamodules.adapters.hir import HiR
from rtt_lightning.datamodules.adapters.ifeval import IFEval
from rtt_lightning.datamodules.adapters.labels import Labels
from rtt_lightning.datamodules.adapters.muldimif import MulDimIF
from rtt_lightning.datamodules.adapters.trl import TRL
from rtt_lightning.datamodules.adapters.verif import VerIF
from rtt_lightning.datamodules.adapters.weighted import Weighted
from rtt_lightning.types.errors import UserError

FORMATS: dict[str, type[Adapter]] = {
    "rtt": Native,
    "ifeval": IFEval,
    "ifbench": IFEval,
    "muldimif": MulDimIF,
    "verif": VerIF,
    "hir": HiR,
    "advancedif": AdvancedIF,
    "weighted": Weighted,
    "trl": TRL,
    "labels": Labels,
}

__all__ = ["FORMATS", "Adapter", "adapter_named"]


def adapter_named(name: str) -> Adapter:
    """The adapter of a known format.

    Raises:
        UserError: For an unknown name.
    """
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}? Known" if close else "known"
        raise UserError(
            f"unknown data.format {name!r}; {hint} are {', '.join(FORMATS)}; "
            "or name an adapter of your own by data.format.class_path"
        )
    return FORMATS[name]()
