"""The YAML files of the package: lists them, and finds them from any folder."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rtt_lightning.names import did_you_mean
from rtt_lightning.types.errors import UserError

FOLDER = Path(__file__).parents[1] / "configs"


def command(name: str, args: Sequence[str]) -> None:
    """`rtt configs`."""
    parser = ArgumentParser(prog=f"rtt {name}", description="List the YAML files of the package, or print one.")
    parser.add_argument("name", nargs="?", help="of the file to print, such as demo/policy.yaml")
    show_configs(parser.parse_args(args).name)


def show_configs(name: str | None = None) -> None:
    """Print a file of the package; without a name, list all with their purposes.

    Raises:
        UserError: If there is none of that name.
    """
    if name:
        print(_shipped(name).read_text(), end="")
        return
    names = _names()
    print(f"{FOLDER.resolve()}, for `rtt fit --config NAME`; paths within are relative to the working directory")
    for name in names:
        header = (FOLDER / name).read_text().partition("# Purpose:")[2]
        print(f"  {name:<{max(map(len, names))}}  {header.splitlines()[0].strip()}")


def read_config(given: str) -> tuple[str, Any]:
    """The path and the content of a file that ``--config`` names: from the working directory, else a shipped one.

    Inline YAML is its own path. What is neither is left to the parser, with itself as content.

    Raises:
        UserError: For a relative path to a YAML file that is neither there nor shipped, and for a file that is not
            YAML: the parser would say where, but not in which file.
    """
    path = find(given, "--config ")
    try:
        with path.open(encoding="utf-8") as file:
            return str(path), yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {given} is not YAML: {' '.join(str(error).split())}") from error
    except (OSError, ValueError):
        return given, read_value(given)


def find(given: str, flag: str = "") -> Path:
    """The path of a YAML file: from the working directory, else a shipped one.

    Raises:
        UserError: For a relative path to a YAML file that is neither there nor shipped.
    """
    path = Path(given)
    if path.suffix == ".yaml" and not path.is_absolute() and not path.exists():
        path = _shipped(given, f"{flag}{given}: no such file from {Path.cwd()}, and ")
    return path


def read_value(text: str) -> Any:
    """The value of YAML; the text itself where it is none."""
    try:
        return yaml.safe_load(text) if text.strip() else text
    except yaml.YAMLError:
        return text


def _shipped(name: str, said: str = "") -> Path:
    path = FOLDER / name.removeprefix("configs/")
    if not path.is_file():
        raise UserError(f"{said}no file {name!r} is shipped, see `rtt configs`{did_you_mean(name, _names())}")
    return path


def _names() -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
