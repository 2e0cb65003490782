"""Checkers that a user might bring, and some that nobody should. Imports little, as worker processes import it."""

import contextlib
import itertools
import os
import re
import sys
import time

from rtt_lightning.types import Verdict


def explode(answer: str) -> Verdict:
    return Verdict(bool(re.match(r"(a+)+$", "a" * 60 + "b")), "in the end")


def swallow(answer: str) -> Verdict:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


def deaf(answer: str) -> Verdict:
    sum(itertools.repeat(1))  # looks for no signals
    raise AssertionError


def die(answer: str) -> Verdict:
    os._exit(3)


def who(answer: str) -> Verdict:
    return Verdict(True, str(os.getpid()))


def loaded(answer: str) -> Verdict:
    return Verdict(True, " ".join(name for name in ("torch", "pandas", "lightning") if name in sys.modules))


def explodes_without_tea(answer: str) -> Verdict:
    start = answer.find("tea")
    return Verdict(True, "found", ((start, start + 3),)) if start >= 0 else swallow(answer)
