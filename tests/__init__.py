"""Axes and dtypes of tensors are checked wherever tests, and the processes that they fork, call these rooms."""

import random
from unittest.mock import patch

with patch.object(random, "getrandbits", random.Random(0).getrandbits):  # draws which items of a list it looks at
    from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

CHECKED = ("rtt_lightning.functional", "rtt_lightning.algorithms", "rtt_lightning.types.experience")
typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for pyright
install_import_hook(CHECKED, f"{__name__}.typechecked")
