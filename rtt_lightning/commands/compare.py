"""`rtt compare`: two evaluations of the same prompts, each prompt paired with itself."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from rtt_lightning.reports.comparison import compare, show_comparison


def command(name: str, args: Sequence[str]) -> None:
    """`rtt compare`."""
    says = "Compare two evaluations of the same prompts, such as of a policy before and after training."
    parser = ArgumentParser(prog=f"rtt {name}", description=says)
    parser.add_argument("before", type=Path, help="as `rtt validate` wrote it, such as FOLDER/validate.parquet")
    parser.add_argument("after", type=Path, help="another, such as FOLDER/validate-000100.parquet")
    given = parser.parse_args(args)
    show_comparison(compare(given.before, given.after), f"{given.before} and {given.after}, paired by prompt")
