"""Worker processes: what hangs or crashes costs its own verdict alone."""

import os
import signal
import subprocess
import sys

import pytest

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.base import Checker
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.conftest import ROOT
from tests.pids import wait_for_end
from tests.verifiers.rules.own_checkers import deaf, die, explode, loaded, swallow, who

OWN: dict[str, Checker] = {f"own:{check.__name__}": check for check in (explode, swallow, deaf, die, who, loaded)}


def sample(*checkers: str) -> RubricSample:
    criteria = tuple(Criterion("A criterion.", name) for name in checkers)
    return RubricSample("one", ({"role": "user", "content": "Say something."},), criteria)


def verdicts(verifier: RuleVerifier, *checkers: str) -> list[Verdict]:
    return verifier.verify_all([(sample(*checkers), "an answer")])[0]


@pytest.mark.parametrize(
    ("checker", "reason"),
    [
        ("own:explode", "own:explode took longer than 0.5 seconds"),
        ("own:swallow", "own:swallow took longer than 0.5 seconds"),
        ("own:deaf", "own:deaf took longer than 0.5 seconds"),
        ("own:die", "own:die ended its process with exit code 3"),
    ],
)
def test_a_check_that_hangs_or_dies_is_unscorable_and_its_neighbours_are_not(checker: str, reason: str) -> None:
    verifier = RuleVerifier(OWN, deadline=0.5)
    found = verdicts(verifier, "rtt:no_commas", checker, "rtt:include_number", checker, "own:who")
    assert [verdict.met for verdict in found] == [True, None, False, None, True]
    assert found[1].reason == found[3].reason == reason
    assert verdicts(verifier, "rtt:no_commas")[0].met is True  # and the next answer is checked as ever


def test_a_run_starts_its_processes_once_and_they_import_little() -> None:
    verifier = RuleVerifier(OWN, workers=2)
    found = verifier.verify_all([(sample("own:who", "own:loaded"), str(i)) for i in range(200)])
    found += verifier.verify_all([(sample("own:who", "own:loaded"), str(i)) for i in range(200)])
    processes = {first.reason for first, _ in found}
    assert 1 <= len(processes) <= 2
    assert str(os.getpid()) not in processes
    assert {second.reason for _, second in found} == {""}


def test_a_check_that_hangs_holds_no_other_worker_up() -> None:
    verifier = RuleVerifier(OWN, workers=2, deadline=3)
    verdicts(verifier, "rtt:no_commas")
    hanging = verifier._workers.decide(sample("own:explode").criteria, "x")
    quick = [verifier._workers.decide(sample("rtt:no_commas").criteria, "x") for _ in range(20)]
    assert [future.result(timeout=60)[0].met for future in quick] == [True] * 20
    assert hanging.result(timeout=60)[0].met is None


def test_processes_end_with_their_verifier() -> None:
    verifier = RuleVerifier(OWN)
    [process] = verdicts(verifier, "own:who")
    del verifier
    wait_for_end(int(process.reason))


def test_processes_end_with_a_program_that_is_killed() -> None:
    code = "import time\nfrom tests.verifiers.rules.test_workers import *\n"
    code += "print(verdicts(RuleVerifier(OWN), 'own:who')[0].reason, flush=True)\ntime.sleep(600)"
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    process = int(program.stdout.readline())
    program.send_signal(signal.SIGKILL)
    program.wait()
    wait_for_end(process)


def test_what_no_other_process_can_reach_is_refused_and_needs_no_worker() -> None:
    own: dict[str, Checker] = {"own:here": lambda answer: Verdict(True, "")}
    with pytest.raises(ValueError, match=r"the checker 'own:here' cannot be reached from another process; define it"):
        verdicts(RuleVerifier(own), "own:here")
    assert verdicts(RuleVerifier(own, workers=0), "own:here")[0].met is True


@pytest.mark.parametrize(("workers", "deadline"), [(-1, 1.0), (1, 0.0)])
def test_impossible_numbers_are_refused(workers: int, deadline: float) -> None:
    with pytest.raises(ValueError, match=r"workers must be >= 0 and deadline > 0 seconds, got"):
        RuleVerifier(workers=workers, deadline=deadline)
