"""What is wrong with flags or YAML, in one line with the nearest name that would be right."""

import re
from collections.abc import Iterable
from importlib import import_module
from inspect import signature

import rtt_lightning
from rtt_lightning.names import did_you_mean

ABOUT_A_CLASS = re.compile(r"Problem with given class_path '([\w.]+)':\s((?:(?!Problem with given).)+)", re.DOTALL)
ALTERNATIVES = re.compile(r"\n\s*- (?:Expected a <class 'NoneType'>|Not a valid subclass)|\n\s*Given value")
NO_OPTION = re.compile(
    r"(?:(?:Group '(?P<group>.+)'|Subcommand '\w+') does not accept o|O)ption '(?P<name>.+?)'(?: is not accepted)?$"
)
NO_FLAG = re.compile(r"unrecognized arguments: --(\S+?)(?:[= ]|$)")
NO_CLASS = re.compile(r"Expected a dot import path string: (\w+)")


def explained(message: str, keys: Iterable[str]) -> str:
    """The message of jsonargparse (4.53) for a mistake, without what it says of every alternative.

    Args:
        message: Of several lines.
        keys: That flags and YAML may have, such as ``trainer.max_steps``.
    """
    if unknown := NO_FLAG.search(message):
        return f"{message}{did_you_mean(unknown[1], keys)}"
    if unnamed := NO_CLASS.search(message):
        return f"{unnamed[0]}{did_you_mean(unnamed[1], rtt_lightning.__all__)}"
    problems = [*ABOUT_A_CLASS.finditer(message)]
    path, problem = problems[-1].groups() if problems else ("", message)  # the innermost says most
    problem = " ".join(ALTERNATIVES.split(problem)[0].split())
    unknown = NO_OPTION.match(problem)
    if unknown is None:
        return f"{path}: {problem}" if path else problem
    if not path:
        return problem + did_you_mean(".".join(filter(None, unknown.groups())), keys)
    module, _, name = path.rpartition(".")
    return (
        f"{path}: {problem}{did_you_mean(unknown['name'], signature(getattr(import_module(module), name)).parameters)}"
    )
