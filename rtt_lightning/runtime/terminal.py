"""Terminal output about the user's run, without the libraries' chatter."""

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar

T = TypeVar("T")
MAX_LISTED = 20
PACKAGE = Path(__file__).parents[1]
EVERY_SECONDS = 60.0
"""Seconds between two lines about something slow."""
CHATTER = ("💡 Tip", "GPU available", "TPU available", "Seed set to", "Failed to load CPU gemm_4bit_forward")
TALKERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "bitsandbytes.backends.cpu.ops",
)
VERBOSE = "RTT_VERBOSE"
"""An environment variable, which the processes of a run inherit."""
ABOUT_LIBRARIES = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 on torch 2.13
    r"predict returned None.*",  # the rollout callback keeps the predictions
    r"The dataloader.* does not have many workers.*",
    r"LightningCLI's args parameter is intended.*",
    r"Found \d+ module\(s\) in eval mode.*",  # frozen bases have no dropout: their mode makes no difference
    r"You have overridden `on_.*_batch_start`.*",
)


def quieten() -> None:
    """Hide known noise of the libraries, unless `VERBOSE` is set."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get(VERBOSE):
        return
    from transformers.utils import logging as transformers_logging  # slow, and unused by commands without a model

    transformers_logging.disable_progress_bar()
    for name in TALKERS:
        logging.getLogger(name).addFilter(_is_about_the_run)
    for message in ABOUT_LIBRARIES:
        warnings.filterwarnings("ignore", message=message)
    warnings.formatwarning = partial(_formatted, warnings.formatwarning)


def _formatted(usual: Callable[..., str], message: Warning | str, kind: type[Warning], file: str, *rest: Any) -> str:
    """A warning of ours as its message alone: it is about the run, and no place of the code helps there."""
    ours = kind is UserWarning and Path(file).is_relative_to(PACKAGE)
    return f"warning: {message}\n" if ours else usual(message, kind, file, *rest)


def endure() -> None:
    """Keep output from ending the program: unprintable characters become "?", and unread output is dropped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # the shell may have closed it
            setattr(sys, name, _Enduring(stream))


class _Enduring:
    """A stream that survives the end of its reader, such as `head` or a closed terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with self._whoever_reads():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._whoever_reads():
            self._stream.flush()

    @contextmanager
    def _whoever_reads(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass  # a slow reader misses some output
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # for buffered output too
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_about_the_run(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in CHATTER)


def announced(rows: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the rows; once a minute print how many of ``total`` there were."""
    began = said = time.monotonic()
    for number, row in enumerate(rows, start=1):
        yield row
        now = time.monotonic()
        if number < total and now - said >= EVERY_SECONDS:
            print(f"{number} of {total} {what} after {duration(now - began)}", flush=True)
            said = now


def listed(problems: Sequence[str]) -> str:
    """The first problems, a line each, and how many more there are."""
    more = [f"... and {len(problems) - MAX_LISTED} more"] if len(problems) > MAX_LISTED else []
    return "\n".join(f"  {line}" for line in [*problems[:MAX_LISTED], *more])


def counted(number: int, what: str) -> str:
    """A number with its noun, whose plural ends in "s": "1 prompt", "2 prompts"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration to about two digits: "6.2 s", "48 s", "9 min", "2.5 h"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def three_decimals(number: float) -> str:
    """A number in a table; a dash for NaN."""
    return "–" if math.isnan(number) else f"{number:.3f}"
