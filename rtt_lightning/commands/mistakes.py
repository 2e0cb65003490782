"""What is wrong with flags or YAML, in one line: where, what was given, what is expected, the nearest right name."""

import re
from collections.abc import Iterable
from importlib import import_module
from inspect import signature

import rtt_lightning
from rtt_lightning.names import did_you_mean

WITHOUT_MEANING = re.compile(
    r"- Expected a path but .* either not accessible or invalid\n\s*- "
    r"|Type \S.* expects a function or a callable class: "
    r"|^Does not validate against any of the Union subtypes\nSubtypes: .*\nErrors:\n\s*- "
)
PLACE = re.compile(r'Parser key "(.+?)"(?: element \d+)?:\s*')
CLASS = re.compile(r"Problem with given class_path '([\w.]+)':\s*")
OTHER_WAYS = re.compile(r"\n\s*- (?:Expected a <class 'NoneType'>|Not a valid subclass)|\n\s*Given value")
EXPECTED = re.compile(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[(.+)\]|dot import path string)")
GOT = re.compile(r"(?:Got value|Given value|dot import path string): (.+)")
NO_OPTION = re.compile(r"(?:(?:Group '(.+)'|Subcommand '\w+') does not accept o|O)ption '(.+?)'(?: is not accepted)?$")
NO_FLAG = re.compile(r"unrecognized arguments: --(\S+?)(?:[= ]|$)")
NO_NAME = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'(?:\. Got value: .*)?$")


def explain_mistake(message: str, keys: Iterable[str]) -> str:
    """The message of jsonargparse (4.53) for a mistake, without its text for every alternative.

    Args:
        message: Several lines.
        keys: Of flags and YAML, such as ``trainer.max_steps``.
    """
    if unknown := NO_FLAG.search(message):
        return message + _nearest(unknown[1], keys)
    message = WITHOUT_MEANING.sub("", message)
    places, classes = [*PLACE.finditer(message)], [*CLASS.finditer(message)]
    place, path = ".".join(found[1] for found in places), classes[-1][1] if classes else ""
    inner = message[max((found.end() for found in places + classes), default=0) :]  # which says most
    problem = OTHER_WAYS.split(inner)[0]
    expected, got = [*EXPECTED.finditer(problem)], GOT.search(inner)
    if place and expected and got:
        kinds = " or ".join(kind or words or "a class" for kind, words in (found.groups() for found in expected))
        return f"{place}: expected {kinds}, got {got[1]!r}{did_you_mean(got[1], rtt_lightning.__all__)}"
    problem = " ".join(problem.split())
    if unknown := NO_OPTION.match(problem):
        name = ".".join(filter(None, unknown.groups()))
        return f"{path}: {problem}{_nearest_argument(name, path)}" if path else problem + _nearest(name, keys)
    if unnamed := NO_NAME.match(problem):
        problem = f"there is no {unnamed[2]} in {unnamed[1]}{did_you_mean(unnamed[2], dir(import_module(unnamed[1])))}"
    return ": ".join(filter(None, (place or path, problem)))


def _nearest(name: str, keys: Iterable[str]) -> str:
    """The key of that group whose last part is the same, or else the most similar one, as the end of a sentence."""
    group, last, keys = name.partition(".")[0], name.rpartition(".")[2], [*keys]
    within = next((key for key in keys if key.startswith(f"{group}.") and key.endswith(f".{last}")), "")
    return f"; did you mean {within!r}?" if within else did_you_mean(name, keys)


def _nearest_argument(name: str, path: str) -> str:
    """Of a class: the most similar argument, or else all."""
    module, _, kind = path.rpartition(".")
    known = signature(getattr(import_module(module), kind)).parameters
    return did_you_mean(name, known) or f"; it takes {', '.join(known)}"
