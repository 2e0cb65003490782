"""The YAML files that come with the package: found from any folder, and listed."""

from collections.abc import Sequence
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[1] / "configs"


def find_configs(args: Sequence[str]) -> list[str]:
    """Arguments with the full path of each shipped file that ``--config`` names, such as ``demo/policy.yaml``.

    A path that exists from the working directory is left as it is.

    Raises:
        ValueError: For a relative path to a YAML file that is neither there nor shipped, and for a file that is not
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


def list_configs() -> None:
    """List the shipped files, each with its purpose. Paths within them are relative to the working directory."""
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
        raise ValueError(
            f"--config {name}: no such file from {Path.cwd()}, and none is shipped under that name; "
            f"these are: {', '.join(_names('*.yaml'))}"
        )
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
            raise ValueError(f"--config {name} is not YAML at {place}: {error.problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"--config {name} is not YAML: {error}") from error
    return name


def _names(pattern: str) -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob(pattern) if path.is_file())
