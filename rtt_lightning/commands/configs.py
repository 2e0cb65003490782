"""The YAML files that come with the package: found from any folder, and listed."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import yaml

from rtt_lightning.names import did_you_mean
from rtt_lightning.types.errors import UserError

FOLDER = Path(__file__).parents[1] / "configs"


def find_configs(args: Sequence[str]) -> list[str]:
    """Arguments with the full path of each shipped file that ``--config`` names, such as ``demo/policy.yaml``.

    A path that exists from the working directory is left as it is.

    Raises:
        UserError: For a relative path to a YAML file that is neither there nor shipped, and for a file that is not
            YAML: the parser would say where, but not in which file.
    """
    found: list[str] = []
    for arg in args:
        if found and found[-1] == "--config":
            arg = _readable(_find(arg))
        elif arg.startswith("--config="):
            arg = f"--config={_readable(_find(arg.removeprefix('--config=')))}"
        found.append(arg)
    return found


def command(name: str, args: Sequence[str]) -> None:
    """`rtt configs`."""
    parser = ArgumentParser(prog=f"rtt {name}", description="List the files that come along, or print one.")
    parser.add_argument("name", nargs="?", help="of the file to print, such as demo/policy.yaml")
    show_configs(parser.parse_args(args).name)


def show_configs(name: str | None = None) -> None:
    """Print a file that comes along; without a name, list all, each with its purpose.

    Raises:
        UserError: If none is shipped under that name.
    """
    if name:
        file = FOLDER / name.removeprefix("configs/")
        if not file.is_file():
            raise UserError(f"no file {name!r} is shipped, see `rtt configs`{did_you_mean(name, _names('*'))}")
        print(file.read_text(), end="")
        return
    names = _names("*")
    print(f"{FOLDER.resolve()}, for `rtt fit --config NAME`; paths within are relative to the working directory")
    for name in names:
        header = (FOLDER / name).read_text().partition("# Purpose:")[2]
        print(f"  {name:<{max(map(len, names))}}  {header.splitlines()[0].strip()}")


def _find(name: str) -> str:
    path = Path(name)
    if path.suffix != ".yaml" or path.is_absolute() or path.exists():
        return name
    shipped = FOLDER / name.removeprefix("configs/")
    if not shipped.is_file():
        near = did_you_mean(name, _names("*.yaml")) or f"; these are: {', '.join(_names('*.yaml'))}"
        raise UserError(f"--config {name}: no such file from {Path.cwd()}, and none is shipped under that name{near}")
    return str(shipped)


def _readable(name: str) -> str:
    path = Path(name)
    if path.suffix == ".yaml" and path.is_file():
        try:
            for _ in yaml.parse(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader):
                pass
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "its end"
            raise UserError(f"--config {name} is not YAML at {place}: {error.problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"--config {name} is not YAML: {error}") from error
    return name


def _names(pattern: str) -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob(pattern) if path.is_file())
