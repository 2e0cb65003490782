"""Rule checks in separate processes: a process that hangs or crashes is replaced, and loses only one verdict.

A worker imports neither torch nor the program that started it, and checks one answer per message. An alarm ends a check
that takes too long, if Python can handle it; otherwise the process is killed.
"""

import logging
import pickle
import queue
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import MagicMock

from rtt_lightning.types import Criterion, OutsideFailure, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Checker, unscorable
from rtt_lightning.verifiers.ifeval import Official, ifeval_checkers
from rtt_lightning.verifiers.rules.checkers import Checkers

START_DEADLINE = 120.0
"""Seconds until a worker has imported its checkers."""
GRACE = 1.0
"""Seconds beyond the deadlines for a worker to end an answer's checks by itself."""


class Workers:
    """Checks answers in worker processes, which start with the first answer and end with this object.

    Args:
        checkers: A user's own checkers by id; they must be importable functions.
        official: As for `Checkers`.
        number: Processes.
        deadline: Seconds that one check may take; one that takes longer is killed, and unscorable.

    Raises:
        ValueError: If a checker cannot be sent to another process.
    """

    def __init__(self, checkers: Mapping[str, Checker], official: Official, number: int, deadline: float) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for _ in range(number):
            self._idle.put(_Worker(_pickled(checkers), official, deadline))
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="checks")

    def decide(self, criteria: Sequence[Criterion], answer: str, loosely: bool = False) -> Future[list[Verdict]]:
        """One verdict per criterion, in order, as soon as a worker is free."""
        return self._threads.submit(self._decide, criteria, answer, loosely)

    def _decide(self, criteria: Sequence[Criterion], answer: str, loosely: bool) -> list[Verdict]:
        worker = self._idle.get()
        try:
            return _verdicts(worker, criteria, answer, loosely)
        finally:
            self._idle.put(worker)


class _Lost(Exception):
    """A process had to be replaced, and why."""


def _verdicts(worker: "_Worker", criteria: Sequence[Criterion], answer: str, loosely: bool) -> list[Verdict]:
    """One verdict per criterion; if the process is lost, each is decided alone, to find the one at fault."""
    try:
        return worker.decide(criteria, answer, loosely)
    except _Lost as lost:
        if len(criteria) == 1:
            return [unscorable(f"{criteria[0].checker} {lost}")]
        return [verdict for criterion in criteria for verdict in _verdicts(worker, [criterion], answer, loosely)]


class _Worker:
    """The near end of one worker process, which starts when needed."""

    def __init__(self, checkers: bytes, official: Official, deadline: float) -> None:
        self._checkers, self._official, self._deadline = checkers, official, deadline
        self._connection: Connection | None = None

    def decide(self, criteria: Sequence[Criterion], answer: str, loosely: bool) -> list[Verdict]:
        """Verdicts in order.

        Raises:
            _Lost: If the process had to be replaced.
        """
        connection = self._connection or self._start()
        try:
            connection.send((criteria, answer, loosely))
            return self._receive(connection, len(criteria) * self._deadline + GRACE)
        except TimeoutError as error:
            self._end()
            raise _Lost(f"took longer than {self._deadline:g} seconds") from error
        except (EOFError, OSError) as error:
            raise _Lost(f"ended its process with exit code {self._end()}") from error

    def _receive(self, connection: Connection, deadline: float) -> Any:
        if not self._answers.poll(deadline * 1000):
            raise TimeoutError
        return connection.recv()

    def _start(self) -> Connection:
        near, far = socket.socketpair()
        with far:
            program = f"from {__name__} import work; work({far.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program], pass_fds=[far.fileno()], stdin=subprocess.DEVNULL
            )
        self._connection = connection = Connection(near.detach())
        self._answers = select.poll()
        self._answers.register(connection.fileno(), select.POLLIN)
        weakref.finalize(self, _kill, self._process)  # it also ends when this end of the connection closes
        try:
            connection.send((sys.path, self._official, self._deadline))
            connection.send_bytes(self._checkers)
            self._receive(connection, START_DEADLINE)
        except (EOFError, OSError, TimeoutError) as error:
            code = self._end()
            raise OutsideFailure(
                f"a process for rule checks did not start (exit code {code}); its output is above. Your own "
                "checkers must be functions of a module that can be imported without side effects"
            ) from error
        return connection

    def _end(self) -> int:
        """End the process; returns its exit code."""
        _kill(self._process)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return self._process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(0.1 if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pickled(checkers: Mapping[str, Checker]) -> bytes:
    for name, checker in checkers.items():
        if getattr(checker, "__module__", None) == "__main__" or "<lambda>" in getattr(checker, "__qualname__", ""):
            raise UserError(_NOT_IMPORTABLE.format(name=name))
        try:
            pickle.dumps(checker)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(_NOT_IMPORTABLE.format(name=name)) from error
    return pickle.dumps(dict(checkers))


_NOT_IMPORTABLE = (
    "the checker {name!r} cannot be reached from another process; define it at the top level of a module that can be "
    "imported, or set rollout.verifier.init_args.workers to 0, which checks without a deadline"
)


def work(far: int) -> None:
    """The far end: decide what arrives, until the near end closes."""
    connection = Connection(far)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started us
    signal.signal(signal.SIGALRM, _ring)
    logging.disable()  # some checkers log the answers
    sys.path[:], official, deadline = connection.recv()
    checkers = Checkers(pickle.loads(connection.recv_bytes()), official)
    sys.modules["datasets"] = MagicMock()  # the checkers' package imports it without need: seconds, and 100 MB
    ifeval_checkers(official)
    del sys.modules["datasets"]
    connection.send(None)
    while True:
        try:
            criteria, answer, loosely = connection.recv()
            decide = checkers.decide_loosely if loosely else checkers.decide
            connection.send([_decide_in_time(deadline, decide, criterion, answer) for criterion in criteria])
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _decide_in_time(
    deadline: float, decide: Callable[[Criterion, str], Verdict], criterion: Criterion, answer: str
) -> Verdict:
    try:
        signal.setitimer(signal.ITIMER_REAL, deadline)
        verdict = decide(criterion, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return verdict
    except _TooLong:
        return unscorable(f"{criterion.checker} took longer than {deadline:g} seconds")


class _TooLong(BaseException):
    """Not an Exception, so that checkers do not catch it."""


def _ring(*_: Any) -> None:
    raise _TooLong
