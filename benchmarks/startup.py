"""CPU seconds until a command of `rtt` has answered: user and system time of a fresh process, the best of three.

python -m benchmarks.startup
"""

import resource
import subprocess
import sys

COMMANDS = (
    "--help",
    "--version",
    "configs",
    "data --help",
    "data check --help",
    *(f"{name} --help" for name in ("fit", "validate", "test", "predict", "score", "export", "doctor")),
    "fit --model.help",
    "fit --model.algorithm.help RTT",
)


def cpu_seconds(code: list[str]) -> tuple[float, int]:
    """Of a Python process with these arguments, and its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, *code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended.returncode


def main() -> None:
    """Print a table in Markdown."""
    print("| command | CPU seconds | exit code |\n|---|---|---|")
    rows = {f"rtt {command}": ["-m", "rtt_lightning", *command.split()] for command in COMMANDS}
    for name, code in ({"import rtt_lightning": ["-c", "import rtt_lightning"]} | rows).items():
        seconds, status = min(cpu_seconds(code) for _ in range(3))
        print(f"| `{name}` | {seconds:.2f} | {status} |", flush=True)


if __name__ == "__main__":
    main()
