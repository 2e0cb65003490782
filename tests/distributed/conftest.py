"""Runs of `rtt` on one or two processes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import start_all

ROOT = Path(__file__).parents[2]
FSDP = ("--config", str(ROOT / "configs/strategies/fsdp.yaml"))
DDP = ("--config", str(ROOT / "configs/strategies/ddp.yaml"))
LONGEST_SECONDS = 240

Run = Callable[..., str]


@pytest.fixture
def rtt(tmp_path: Path) -> Run:
    """``rtt("fit", "--flag", ..., processes=2)``; gives what all processes printed."""

    def run(*arguments: str, processes: int = 1, expect: int = 0) -> str:
        log = tmp_path / "log.txt"
        log.write_text("")
        started = start_all(arguments, log, processes)
        for process in started:
            process.join(LONGEST_SECONDS)
            process.kill()
        codes = {process.exitcode for process in started}
        assert codes == {expect}, f"exit codes {codes}\n{log.read_text()[-6000:]}"
        return log.read_text()

    return run
