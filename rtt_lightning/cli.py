"""`rtt`: which command a user means, and what a mistake looks like."""

import os
import signal
import sys
from argparse import ArgumentError

from jsonargparse import auto_cli
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rtt_lightning.callbacks.checkpoints import SIGTERM_EXIT_CODE
from rtt_lightning.commands.check import check
from rtt_lightning.commands.configs import list_configs
from rtt_lightning.commands.doctor.machine import doctor
from rtt_lightning.commands.export import export
from rtt_lightning.commands.rejudge import rejudge_command
from rtt_lightning.commands.run import main, reason_of
from rtt_lightning.runtime.terminal import endure, quieten
from rtt_lightning.types import OutsideFailure

__all__ = ["main", "run"]


def run() -> None:
    """The console script: a user's mistake ends with its message alone, exit code 2; so does the failure of a server
    that the run depends on, or a number that is not finite, exit code 1. Modules of the working directory can be named,
    as under ``python -m``.
    """
    endure()
    try:
        if not sys.flags.safe_path:
            sys.path.append(os.getcwd())
        if sys.argv[1:2] == ["export"]:
            quieten()
            auto_cli(export, args=sys.argv[2:], prog="rtt export", as_positional=True)
        elif sys.argv[1:2] == ["rejudge"]:
            quieten()
            rejudge_command(sys.argv[2:])
        elif sys.argv[1:2] == ["configs"]:
            auto_cli(list_configs, args=sys.argv[2:], prog="rtt configs")
        elif sys.argv[1:2] == ["data"]:
            sys.exit(auto_cli({"check": check}, args=sys.argv[2:], prog="rtt data", as_positional=True))
        elif sys.argv[1:2] == ["doctor"]:
            sys.exit(doctor(sys.argv[2:]))
        else:
            main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SIGTERMException:  # Lightning ends a run without checkpoints in this way, with exit code 0
        sys.exit(SIGTERM_EXIT_CODE)
    except (ArgumentError, ValueError, OSError, MisconfigurationException, OutsideFailure, FloatingPointError) as error:
        if os.environ.get("RTT_TRACEBACK"):
            raise
        print(f"rtt: {reason_of(error)}\n(RTT_TRACEBACK=1 shows where this was raised)", file=sys.stderr)
        sys.exit(1 if isinstance(error, OutsideFailure | FloatingPointError) else 2)
