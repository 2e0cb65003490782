"""Verdicts per second of the rule checkers, in this process and in worker processes with a deadline each; and of code
that comes with data, in its sandbox.

    python benchmarks/verdicts.py [--responses 2000] [--repeats 5]

All are timed in turn in one run, so that they share whatever the machine is doing.
"""

import time
from statistics import median

from jsonargparse import auto_cli

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.code import CodeVerifier
from rtt_lightning.verifiers.rules import RuleVerifier

ANSWER = "I like tea, and coffee too. It is warm, and it is good for the soul. " * 4
SIMPLE = (
    Criterion("Mention tea.", "rtt:include_word", {"word": "tea"}),
    Criterion("Use at least 5 words.", "rtt:min_words", {"n": 5}),
    Criterion("Use no commas.", "rtt:no_commas"),
    Criterion("End with a full sentence.", "rtt:end_punctuation"),
    Criterion("Mention tea.", "keywords:existence", {"keywords": ["tea"]}),
    Criterion("Use no commas.", "punctuation:no_comma"),
)

CODE = """
import re

def check_following(instruction, response):
    words = re.findall(r"[a-z]+", response.lower())
    return 5 <= len(words) <= 500 and "tea" in words
"""


def main(responses: int = 2000, repeats: int = 5) -> None:
    """Time the checks.

    Args:
        responses: Answers per repeat, with six simple criteria each.
        repeats: Of each way.
    """
    sample = RubricSample("one", ({"role": "user", "content": "Of tea?"},), SIMPLE)
    ways = {f"{n} workers" if n else "in this process": RuleVerifier(workers=n) for n in (0, 1, 2)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for verifier in ways.values():
        verifier.verify_all([(sample, ANSWER)])  # imports, and starts the processes
    for _ in range(repeats):
        for name, verifier in ways.items():
            started = time.perf_counter()
            verifier.verify_all([(sample, ANSWER)] * responses)
            rates[name].append(responses * len(SIMPLE) / (time.perf_counter() - started))
    code, rates["code in one sandbox process"] = CodeVerifier(), []
    checks = RubricSample("one", sample.messages, (Criterion("Be brief.", "code", {"source": CODE}),))
    for _ in range(repeats + 1):
        started = time.perf_counter()
        code.verify_all([(checks, ANSWER)] * responses)
        rates["code in one sandbox process"].append(responses / (time.perf_counter() - started))
    rates["code in one sandbox process"].pop(0)  # starts the process
    for name, values in rates.items():
        print(f"{name}: {median(values):,.0f} verdicts per second ({min(values):,.0f} to {max(values):,.0f})")


if __name__ == "__main__":
    auto_cli(main)
