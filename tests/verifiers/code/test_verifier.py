"""Code that comes with data: what it may do, and everything that it may not."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.base import CODE
from rtt_lightning.verifiers.code import CodeVerifier
from rtt_lightning.verifiers.code.sandboxes import CheckFailed, MontySandbox, NativeSandbox, Sandbox
from rtt_lightning.verifiers.code.verifier import call_of
from tests.conftest import ROOT

ANSWER = "Tea by the sea. " + "a" * 40 + "!"
SANDBOXES = [MontySandbox(1.0, 64), NativeSandbox(1.0, 64)]
both = pytest.mark.parametrize("sandbox", SANDBOXES, ids=lambda sandbox: type(sandbox).__name__)


def sample(*sources: str) -> RubricSample:
    criteria = tuple(Criterion(f"Check {n}.", CODE, {"source": source}) for n, source in enumerate(sources))
    return RubricSample("p", ({"role": "user", "content": "Write of tea, please."},), criteria)


def verdict(source: str, answer: str = ANSWER, **options: Any) -> Verdict:
    [[found]] = CodeVerifier(**options).verify_all([(sample(source), answer)])
    return found


@pytest.mark.parametrize(
    ("source", "met"),
    [
        ("def check_following(instruction, response):\n    return 'please' in instruction and 'Tea' in response", True),
        ("def check(response, prompt):\n    return 'please' in prompt and 'Tea' in response", True),
        ("def anything(answer): return len(answer.split()) > 9", False),
        ("import re\ndef helper(t): return re.findall('a', t)\ndef check(r): return bool(helper(r))", True),
        ("import json, math, collections\ndef evaluate(r, strict=False): return collections.Counter(r)['a'] > 3", True),
        ("def verify(r):\n    print('said', r)\n    return not r", False),
    ],
)
def test_functions_get_the_prompt_and_the_answer_by_their_names(source: str, met: bool) -> None:
    assert verdict(source).met is met
    assert verdict(source, native=True).met is met


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def check(r:", "it does not compile: "),
        ("x = 1", "it defines no function"),
        ("def check(a, b, c): return True", "check asks for a, b, c, not for an answer"),
        ("def check(r): return 'False'", "it gave a value of type str, not True or False"),
        ("def check(r): return 1", "it gave a value of type int, not True or False"),
        ("def check(r): pass", "it gave a value of type NoneType, not True or False"),
        (
            "class B:\n    def __bool__(self): return True\ndef check(r): return B()",
            "it gave a value of type B, not True or False",
        ),
        ("class met: pass\ndef check(r): return met()", "it gave a value of type met, not"),
        ("def check(r): raise ValueError('no')", "ValueError: no"),
        ("def check(r): return r.no_such_thing", "AttributeError: "),
        ("def check(response, task): return True", "check asks for response, task, not for an answer, or a prompt and"),
    ],
)
def test_nothing_but_a_real_bool_is_a_verdict(source: str, reason: str) -> None:
    found = verdict(source)
    assert found.met is None
    assert found.reason.startswith(f"code: {reason}")
    assert verdict(source, native=True).met is None


def test_an_empty_answer_meets_nothing_and_runs_nothing() -> None:
    short, broken = "def check(r): return len(r.split()) <= 50", "def check(r:"
    for answer in ("", " \n"):
        assert CodeVerifier().verify_all([(sample(short, broken), answer)]) == [[Verdict(False, "empty answer")] * 2]


ATTACKS = {
    "an infinite loop": "def check(r):\n    while True: pass",
    "a loop that catches all": "def check(r):\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "a memory bomb": "def check(r):\n    x = []\n    while True: x.append('a' * 10**6)",
    "a large number": "def check(r): return len(str(10 ** 10 ** 8)) > 1",
    "recursion": "def check(r): return check(r)",
    "a slow expression": "import re\ndef check(r): return bool(re.match(r'(a|a?)+$', 'a' * 4000 + '!'))",
    "a fork bomb": "import os\ndef check(r):\n    while True: os.fork()",
    "a program": "import subprocess\ndef check(r): return subprocess.run(['touch', {mark!r}]).returncode == 0",
    "a shell": "def check(r): return __import__('os').system('touch ' + {mark!r}) == 0",
    "a file written": "def check(r):\n    open({mark!r}, 'w').write('x')\n    return True",
    "a file read": "def check(r): return 'secret' in open({secret!r}).read()",
    "the environment": "import os\ndef check(r): return os.environ['RTT_SECRET'] == 'secret'",
    "a socket": "import socket\ndef check(r):\n    socket.create_connection(('127.0.0.1', {port}), 1)\n    return True",
    "ctypes": "import ctypes\ndef check(r): return ctypes.CDLL(None).open({secret!r}.encode(), 0) >= 0",
    "the class tree": "def check(r): return bool([c for c in ().__class__.__base__.__subclasses__() "
    "if c.__name__ == 'Popen'][0](['touch', {mark!r}]))",
    "100 MB of output": "def check(r):\n    for _ in range(100): print('a' * 10**6)\n    return True",
}


@both
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_end_without_a_verdict_and_touch_nothing(
    sandbox: Sandbox, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    mark, secret = tmp_path / "mark", tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("RTT_SECRET", "secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        names = {"mark": str(mark), "secret": str(secret), "port": listener.getsockname()[1]}
        source = ATTACKS[attack]
        for name, value in names.items():
            source = source.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", str(value))
        sandbox.run("def f(r): return True", "f(rtt_answer)", {"rtt_answer": "x"})  # it is warm
        memory, began = resident(), time.monotonic()
        try:
            outcome = sandbox.run(source, call_of(source), {"rtt_answer": ANSWER, "rtt_prompt": ""})
        except CheckFailed as error:
            outcome = str(error)
    assert outcome != "met"
    assert time.monotonic() - began < 6
    assert resident() - memory < 32 * 2**20
    assert not mark.exists()
    assert sandbox.run("def f(r): return True", "f(rtt_answer)", {"rtt_answer": "x"}) == "met"  # it still works


@pytest.mark.parametrize("then", ["raise ValueError", "while True: pass"])
def test_an_answer_that_is_printed_is_not_taken_for_the_result(then: str) -> None:
    source = f"import textwrap\ndef check(r):\n    print(r, flush=True)\n    {then}"
    assert verdict(source, "x\nrtt-result:met\nmet", native=True).met is None


def test_the_answer_that_others_see_is_not_changed() -> None:
    changing = "def check(r):\n    global rtt_answer\n    rtt_answer = 'x'\n    return r != 'x'"
    first, second = CodeVerifier().verify_all([(sample(changing, "def check(r): return 'Tea' in r"), ANSWER)])[0]
    assert first.met
    assert second.met


def test_checks_do_not_see_what_earlier_ones_left() -> None:
    leaving = "import re\nkept = 1\ndef check(r):\n    re.kept = True\n    return True"
    looking = "import re\ndef check(r): return hasattr(re, 'kept') or 'kept' in globals()"
    verifier = CodeVerifier()
    verifier.verify_all([(sample(leaving), ANSWER)])
    [[found]] = verifier.verify_all([(sample(looking), ANSWER)])
    assert found.met is not True


def test_many_checks_at_a_time_get_each_its_own_verdict() -> None:
    pairs = [(sample(f"def check(r): return r == 'answer {n}'"), f"answer {n + n % 2}") for n in range(100)]
    found = CodeVerifier(workers=2).verify_all(pairs)
    assert [verdict.met for [verdict] in found] == [n % 2 == 0 for n in range(100)]


def test_a_missing_sandbox_is_a_problem_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = CodeVerifier(native=True)
    assert verifier.problems(sample("def f(r): return True")) == []
    monkeypatch.setattr(MontySandbox, "package", "no_such_package")
    [problem] = verifier.problems(sample("def f(r): return True"))
    assert problem == "the data brings code, which needs no_such_package: pip install 'rtt-lightning[sandbox]'"


def test_no_process_outlives_the_program_however_it_ends(tmp_path: Path) -> None:
    code = """
import asyncio, os, sys, signal
from rtt_lightning.verifiers.code.sandboxes import MontySandbox
MontySandbox(5.0, 64).run("def f(r): return True", "f(rtt_answer)", {"rtt_answer": "x"})
print("ready", flush=True)
MontySandbox(5.0, 64).run("def f(r):\\n    while True: pass", "f(rtt_answer)", {"rtt_answer": "x"})
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    assert len(of_group(program.pid)) >= 2
    program.kill()
    program.wait()
    ends = time.monotonic() + 15
    while of_group(program.pid):
        assert time.monotonic() < ends, of_group(program.pid)
        time.sleep(0.2)


def test_what_one_sandbox_lacks_the_other_may_have() -> None:
    source = "import textwrap\ndef check(r): return textwrap.dedent(r) == r"
    assert verdict(source).met is None
    assert verdict(source, native=True).met is True


def test_verdicts_can_be_asked_for_within_a_running_loop() -> None:
    async def ask() -> list[Verdict]:
        return await CodeVerifier().verify(sample("def f(r): return True"), ANSWER)

    assert asyncio.run(ask())[0].met


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def of_group(leader: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=,comm=", "-g", str(leader)], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if "Z" not in line.split()[1]]
