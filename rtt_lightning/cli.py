"""`rtt`: finds the command that a user means. Nothing heavy is imported before the command is known."""

import os
import signal
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from importlib import import_module, metadata

from rtt_lightning.names import did_you_mean
from rtt_lightning.runtime.terminal import VERBOSE, endure
from rtt_lightning.types import OutsideFailure
from rtt_lightning.types.errors import UserError

COMMANDS = {
    "init": ("init", "write a small commented YAML to begin from: FILE"),
    "fit": ("run", "train a policy or a discriminator"),
    "validate": ("run", "sample and judge validation prompts; or measure a discriminator"),
    "test": ("run", "the same on test prompts"),
    "predict": ("run", "sample and judge responses to training prompts, and write them"),
    "score": ("score", "judge given responses, or saved ones again: FILE"),
    "explain": ("explain", "which tokens decide each criterion, and their credit: FILE"),
    "annotate": ("annotate", "label which words decide criteria, for a discriminator: [FILE]"),
    "compare": ("compare", "methods on a grid of runs: GRID; or two evaluations: BEFORE AFTER"),
    "export": ("export", "write a checkpoint as a Hugging Face folder: CHECKPOINT FOLDER"),
    "doctor": ("doctor.machine", "check this machine; with flags of `rtt fit` also data and memory"),
    "data check": ("check_data", "look at a file of prompts and rubrics in any format: FILE"),
    "configs": ("configs", "list the YAML files that come along, or print one: [NAME]"),
}
"""Each with its module in `rtt_lightning.commands`, which has a function `command`, and its help."""
VERBOSE_FLAG = "-v"
HELP = """usage: rtt COMMAND ...

Rubrics to Tokens: reinforcement learning from rubrics, with credit for
single tokens."""


def run() -> None:
    """The console script. A user's mistake ends with only its message and exit code 2; the failure of a server that the
    run depends on, or a number that is not finite, likewise with exit code 1. Other exceptions show a traceback.
    """
    endure()
    if not sys.flags.safe_path:
        sys.path.append(os.getcwd())  # finds modules of the working directory, as ``python -m`` does
    try:
        code = answer(sys.argv[1:])
        if code is not None:
            sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        mistake = isinstance(error, UserError | ArgumentError) or (isinstance(error, OSError) and error.filename)
        if os.environ.get("RTT_TRACEBACK") or not (mistake or isinstance(error, OutsideFailure | FloatingPointError)):
            raise
        print(f"rtt: {error}\n(RTT_TRACEBACK=1 shows where this was raised)", file=sys.stderr)
        sys.exit(2 if mistake else 1)


def answer(words: Sequence[str]) -> int | None:
    """Run the command of a command line; returns the exit code.

    Raises:
        UserError: For an unknown command, or mistakes in its flags.
    """
    if VERBOSE_FLAG in words:
        os.environ[VERBOSE] = "1"
    words = _todays([word for word in words if word != VERBOSE_FLAG])
    name = next((name for name in COMMANDS if [*words[: len(name.split())]] == name.split()), "")
    if name:
        command: Callable[[str, Sequence[str]], int | None]
        command = import_module(f"rtt_lightning.commands.{COMMANDS[name][0]}").command
        return command(name, words[len(name.split()) :])
    first = words[0] if words else "--help"
    group = {each: COMMANDS[each] for each in COMMANDS if each.startswith(f"{first} ")}
    if first == "--version":
        print(f"rtt-lightning {metadata.version('rtt-lightning')}")
    elif first in ("-h", "--help") or (group and words[1:] in ([], ["-h"], ["--help"])):
        print(HELP, "", *(f"  {each:<12}{says}" for each, (_, says) in (group or COMMANDS).items()), sep="\n")
        print("\n`rtt COMMAND --help` says more of one, `rtt --version` which version this is.")
        print("With -v the libraries underneath talk as well.")
    elif first.startswith("-"):  # such as `--config FILE` before one of Lightning's commands
        return import_module("rtt_lightning.commands.run").command("", words)
    else:
        raise UserError(f"there is no command {first!r}, see `rtt --help`{did_you_mean(first, COMMANDS)}")
    return None


def _todays(words: list[str]) -> list[str]:
    """`rtt score` for its old spellings `rtt rejudge` and `rtt validate --responses FILE`."""
    given = words[:1] == ["validate"] and any(word.partition("=")[0] == "--responses" for word in words)
    return ["score", *words[1:]] if given or words[:1] == ["rejudge"] else words


if __name__ == "__main__":
    run()
