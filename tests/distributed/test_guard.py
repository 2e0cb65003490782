"""When one process fails or dies, all end soon, with the reason and a non-zero exit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.distributed.conftest import DDP, ROOT
from tests.processes import start_all

pytestmark = pytest.mark.slow
WITHIN_SECONDS = 30


class Failing(RuleVerifier):
    """Raises on the second process, after the first window."""

    calls = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.calls += 1
        if os.environ.get("LOCAL_RANK") == "1" and self.calls > 6:
            raise RuntimeError("the checker's disk is full")
        return await super().verify(sample, answer)


class Sleeping(RuleVerifier):
    """The first process waits for ever in its third window: the second waits for it in a collective."""

    calls = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.calls += 1
        if os.environ.get("LOCAL_RANK", "0") == "0" and self.calls > 6:
            print("asleep", flush=True)
            time.sleep(600)
        return await super().verify(sample, answer)


def start(arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "rtt_lightning", *arguments, *DDP, "--trainer.devices=2", "--trainer.max_steps=50"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def group(process: "subprocess.Popen[bytes]") -> list[int]:
    """Live processes of the run."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(process.pid)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "Z" not in line.split()[1]]


def wait_for(log: Path, text: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def assert_all_end(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while group(process) and time.monotonic() < deadline:
        process.poll()
        time.sleep(0.2)
    left = group(process)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, log.read_text()[-3000:]
    assert process.wait() not in (0, None)


def test_one_process_raising_ends_all_with_its_reason(policy_args, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(policy_args("fit", "--rollout.verifier=tests.distributed.test_guard.Failing"), log)
    wait_for(log, "process 1 failed: RuntimeError: the checker's disk is full", 120)
    assert_all_end(process, log)


def test_a_killed_process_takes_the_other_with_it(policy_args, tmp_path: Path) -> None:
    """On a cluster nothing watches the processes of other nodes: the guard of the one that is left must."""
    log = tmp_path / "log"
    sleeping = "--rollout.verifier=tests.distributed.test_guard.Sleeping"
    left, killed = start_all([*policy_args("fit", sleeping), *DDP, "--trainer.max_steps=50"], log, processes=2)
    wait_for(log, "asleep", 120)
    killed.kill()
    left.join(WITHIN_SECONDS)
    left.kill()
    assert left.exitcode == 1, log.read_text()[-3000:]
    assert "process 1 has been silent" in log.read_text()


def test_a_stuck_run_ends_at_its_deadline(policy_args, tmp_path: Path) -> None:
    log = tmp_path / "log"
    sleeping = ("--rollout.verifier=tests.distributed.test_guard.Sleeping", "--guard.deadline_minutes=0.2")
    processes = start_all([*policy_args("fit", *sleeping), *DDP, "--trainer.max_steps=50"], log, processes=2)
    wait_for(log, "no batch ended for", 120)
    for process in processes:
        process.join(WITHIN_SECONDS)
        process.kill()
    assert [process.exitcode for process in processes] == [1, 1], log.read_text()[-3000:]
