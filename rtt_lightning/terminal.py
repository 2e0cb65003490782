"""A terminal that shows what concerns the user's run, and not what the libraries say of themselves."""

import logging
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

from transformers.utils import logging as transformers_logging

T = TypeVar("T")
EVERY_SECONDS = 60.0
"""Between two lines about something that takes long."""
ADVERTISING = "💡 Tip"
ABOUT_LIBRARIES = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 on torch 2.13
    r"predict returned None.*",  # the rollout callback keeps the predictions
    r"The dataloader.* does not have many workers.*",
    r"LightningCLI's args parameter is intended.*",
    r"Found \d+ module\(s\) in eval mode.*",  # frozen bases have no dropout: their mode makes no difference
    r"You have overridden `on_.*_batch_start`.*",
)


def quieten() -> None:
    """Hide known noise of the libraries; everything else still shows."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.disable_progress_bar()
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_about_the_run)
    for message in ABOUT_LIBRARIES:
        warnings.filterwarnings("ignore", message=message)


def _is_about_the_run(record: logging.LogRecord) -> bool:
    return ADVERTISING not in record.getMessage()


def announced(rows: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The rows as they come; once a minute a line says how many of ``total`` there were."""
    began = said = time.monotonic()
    for number, row in enumerate(rows, start=1):
        yield row
        now = time.monotonic()
        if number < total and now - said >= EVERY_SECONDS:
            print(f"{number} of {total} {what} after {(now - began) / 60:.0f} minutes", flush=True)
            said = now


def counted(number: int, what: str) -> str:
    """A number of things, whose plural ends in "s": "1 prompt", "2 prompts"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def three_decimals(figure: float) -> str:
    """Of a table: a dash where there is none."""
    return "–" if math.isnan(figure) else f"{figure:.3f}"
