"""Carries out tasks of a grid, each in processes of its own, and says how far they are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from rtt_lightning.comparison.grid import Grid
from rtt_lightning.comparison.tasks import Settings, steps_of
from rtt_lightning.types.errors import UserError


class Failed(Exception):
    """A command ended with an error; the message says which, and where its output is."""


class Carrier:
    """Runs tasks, several at a time. A task that fails does not keep the others from being carried out.

    Args:
        grid: What is compared.
        settings: The configuration of each run, by name.
        jobs: Tasks at a time, which share the cores.
    """

    def __init__(self, grid: Grid, settings: Mapping[str, Settings], jobs: int = 1) -> None:
        self.grid, self.settings, self.jobs = grid, settings, jobs
        # Threads that spin while they wait would take the time of other processes.
        self._environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        if jobs > 1:
            self._environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = Event()

    def carry_out(self, stages: Sequence[Sequence[str]]) -> dict[str, str]:
        """Run tasks by name, those of a stage after all of the stages before.

        Returns:
            Why tasks failed, by name.
        """
        failed: dict[str, str] = {}
        total, done, started, worked = sum(map(len, stages)), 0, time.monotonic(), 0
        for stage in stages:
            with ThreadPoolExecutor(self.jobs) as pool, self._ending():
                waiting = {pool.submit(self._task, name): name for name in stage}
                for future in as_completed(waiting):
                    name, done = waiting[future], done + 1
                    try:
                        worked += (now := future.result())
                    except Exception as error:  # whatever it is, it is this task's alone
                        failed[name], worked, now = _said(error), worked + 1, True
                    if now:
                        left = (time.monotonic() - started) / worked * (total - done) / 60
                        said = f"failed: {failed[name]}" if name in failed else "done"
                        print(f"[{done}/{total}] {name} {said}; about {left:.0f} minutes remain", flush=True)
        return failed

    def _task(self, name: str) -> bool:
        """Run the commands of a task. Returns whether there was anything to do."""
        worked = False
        self._refuse_to_begin()
        for args, log in steps_of(self.grid, self.settings, name):
            self._refuse_to_begin()
            worked = True
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                output.write(f"$ rtt {' '.join(args)}\n".encode())
                output.flush()
                code = self._run(args, output.fileno())
            if code:
                raise Failed(f"`rtt {args[0]}` ended with exit code {code}, see {log}: {last_line(log)}")
        return worked

    def _refuse_to_begin(self) -> None:
        if self._stopped.is_set():
            raise Failed("stopped before it was done")

    def _run(self, args: Sequence[str], output: int) -> int:
        command = [sys.executable, "-m", "rtt_lightning", *args]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=self._environment)
        self._running.add(process)
        try:
            return process.wait()
        finally:
            self._running.discard(process)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """On SIGTERM, Ctrl-C or an error: begin nothing more, and end what runs: it finishes its update and saves."""

        def on_term(*_: object) -> None:
            raise SystemExit(128 + signal.SIGTERM)

        previous = signal.signal(signal.SIGTERM, on_term)
        try:
            yield
        except BaseException:
            self._stopped.set()
            for process in list(self._running):
                process.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Failed | UserError) else f"{type(error).__name__}: {error}"


def last_line(log: Path) -> str:
    """The last line that says something, shortened: of an error, its message."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("$ ", "(RTT_TRACEBACK"))]
    return said[-1][:300] if said else "it said nothing"
