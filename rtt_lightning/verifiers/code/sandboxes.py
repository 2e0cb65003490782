"""Sandboxes for code from data: never in this process, without files, network or environment of the machine.

`MontySandbox` is an interpreter without an operating system, in its own processes, about a millisecond per check.
`NativeSandbox` is a real Python behind Landlock and seccomp, about 50 milliseconds per check, for what Monty lacks.
"""

import importlib.util
import json
import os
import secrets
import sys
import sysconfig
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20
OUTPUT_BYTES = 64 * 1024
"""Most bytes that a check may print; more ends it."""
MET, UNMET = "met", "unmet"
# Only a real bool is a verdict; anything else is named by its type.
OTHER = "'a value of type ' + type(found).__name__"
OUTCOME = f"(lambda found: {MET!r} if found is True else {UNMET!r} if found is False else {OTHER})"


class CheckFailed(Exception):
    """Why a check gave no result."""


class Unsupported(CheckFailed):
    """The code needs something that this sandbox lacks; another one may have it."""


class Sandbox(ABC):
    """Runs checks.

    Args:
        deadline: Seconds of computing that a check may take.
        memory_mb: MiB that a check may hold.
    """

    package: str
    """The package that it needs."""

    def __init__(self, deadline: float, memory_mb: int) -> None:
        self.deadline, self.memory_mb = deadline, memory_mb

    @classmethod
    def is_installed(cls) -> bool:
        return importlib.util.find_spec(cls.package) is not None

    @abstractmethod
    def run(self, source: str, call: str, inputs: Mapping[str, str]) -> str:
        """The outcome of an expression after some code.

        Args:
            source: Python code.
            call: An expression of names that the code defines and of ``inputs``.
            inputs: Texts by name.

        Returns:
            ``met`` for True, ``unmet`` for False, else the type of the value.

        Raises:
            CheckFailed: If it raises, or uses too much time, memory or output.
            Unsupported: If this sandbox lacks what it needs.
        """


class MontySandbox(Sandbox):
    """Monty, by the package pydantic-monty: its processes start with the first check and end with this process.

    Args:
        deadline: Seconds of computing that a check may take.
        memory_mb: MiB that a check may hold.
        workers: Processes.
    """

    package = "pydantic_monty"
    _LACKS = (ImportError, NotImplementedError, AttributeError, NameError, TypeError)

    def __init__(self, deadline: float, memory_mb: int, workers: int = 1) -> None:
        super().__init__(deadline, memory_mb)
        self._workers = workers
        self._starting = threading.Lock()

    def run(self, source: str, call: str, inputs: Mapping[str, str]) -> str:
        import pydantic_monty as monty

        limits: Any = {"max_feed_duration_secs": self.deadline, "max_memory": self.memory_mb * MEBIBYTE}
        policy: Any = {"sleep": "zero", "random_start": {"seed": 0}}  # the same answer gets the same verdict
        with self._starting:
            pool = self._pool
        try:
            with pool.checkout(limits=limits, os_policy=policy) as session:
                printed = monty.CollectString(max_bytes=OUTPUT_BYTES)
                program = f"{source}\n\n{OUTCOME}({call})"
                return str(session.feed_run(program, inputs=dict(inputs), print_callback=printed))[:80]
        except monty.MontySyntaxError as error:
            raise Unsupported(str(error)) from error
        except monty.MontyRuntimeError as error:
            if isinstance(error.exception(), TimeoutError):
                raise CheckFailed(f"it took longer than {self.deadline:g} seconds") from error
            kind = Unsupported if isinstance(error.exception(), self._LACKS) else CheckFailed
            raise kind(error.display("type-msg")) from error
        except (monty.MontyError, UnicodeEncodeError) as error:
            raise CheckFailed(str(error) or type(error).__name__) from error

    @cached_property
    def _pool(self) -> Any:
        import pydantic_monty

        return pydantic_monty.Monty(
            min_processes=self._workers,
            max_processes=self._workers,
            request_timeout=self.deadline + 2,
            max_checkouts_per_worker=10_000,
        ).__enter__()


class NativeSandbox(Sandbox):
    """This Python interpreter and its standard library, by the package sandlock; Linux 6.7 or later."""

    package = "sandlock"

    def run(self, source: str, call: str, inputs: Mapping[str, str]) -> str:
        mark = secrets.token_hex(16)  # a printed answer cannot know it
        with tempfile.TemporaryDirectory(prefix="rtt-check-") as folder:
            program = _PROGRAM.format(source=source, call=f"{OUTCOME}({call})", folder=folder, mark=mark)
            Path(folder, "check.py").write_text(program, encoding="utf-8", errors="replace")
            Path(folder, "inputs.json").write_text(json.dumps(dict(inputs)), encoding="utf-8")
            printed = self._printed(folder)
        lines = printed.decode(errors="replace").splitlines()
        if not lines or not lines[-1].startswith(mark):
            raise CheckFailed("it ended without a result: by an error, or beyond its time, memory or output")
        return lines[-1].removeprefix(mark)[:80]

    def _printed(self, folder: str) -> bytes:
        import sandlock

        box = sandlock.Sandbox(
            fs_readable=[folder, sysconfig.get_path("stdlib"), *_LIBRARIES],
            max_memory=self.memory_mb * MEBIBYTE,
            max_processes=1,
            max_open_files=32,
            clean_env=True,
            cwd=folder,
        )
        python = os.path.realpath(sys.executable)
        null, piped = sandlock.StdioMode.NULL, sandlock.StdioMode.PIPED
        with box.popen([python, "-I", "-S", "-B", f"{folder}/check.py"], null, piped, null) as process:
            alarm = threading.Timer(self.deadline + 1, process.kill)  # starting it takes time as well
            alarm.start()
            try:
                assert process.stdout is not None
                return _read(process.stdout)
            finally:
                alarm.cancel()


_PROGRAM = """{source}

import json as _json, sys as _sys
globals().update(_json.load(open({folder!r} + "/inputs.json")))
_sys.stdout.write("\\n{mark}" + {call})
"""
_LIBRARIES = [
    path for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/bin", sys.base_prefix) if Path(path).is_dir()
]


def _read(stream: Any) -> bytes:
    """Read a stream up to the limit; a process that writes more is killed later."""
    read = b""
    while len(read) <= OUTPUT_BYTES and (part := stream.read(OUTPUT_BYTES)):
        read += part
    return read[: OUTPUT_BYTES + 1] if len(read) <= OUTPUT_BYTES else b""
