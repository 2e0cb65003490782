"""Processes that are nobody's child any more."""

import time
from pathlib import Path


def wait_for_end(pid: int, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < ends, f"process {pid} goes on, {seconds} s after what started it"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits to be collected does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return False
