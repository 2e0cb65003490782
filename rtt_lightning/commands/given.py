"""Arguments before the parser reads them: what each ``--config`` and flag sets, and rewritten ones."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from rtt_lightning.commands.configs import read_config, read_value

SUBCOMMANDS = ("fit", "validate", "test", "predict")
DEFAULT_MODEL = "rtt_lightning.PolicyModule"
OF_A_CLASS = re.compile(r"--(?:\w+\.)+init_args\.[\w.]+")


@dataclass(frozen=True)
class Given:
    """A flag with its value, or another word.

    Attributes:
        words: As the parser will read it.
        flag: Its name; empty for another word, and for a flag without a value.
        value: Its value as YAML reads it, of ``--config`` the content of the file.
        place: The file as it was named, or the flag, for messages.
    """

    words: tuple[str, ...]
    flag: str = ""
    value: Any = None
    place: str = ""

    @cached_property
    def tree(self) -> dict[str, Any]:
        """What it sets, nested as in a YAML file."""
        value = self.value
        if self.flag != "--config":
            for key in reversed(self.flag.removeprefix("--").split(".")):
                value = {key: value}
        return value if self.flag and isinstance(value, dict) else {}

    def saying(self, flag: str, value: Any) -> "Given":
        """This argument as another flag, or as ``--config`` with inline YAML."""
        text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, sort_keys=False)
        return Given((flag, text.rstrip("\n")), flag, value, self.place)


def read_arguments(args: Sequence[str]) -> list[Given]:
    """Arguments, whether flags are written with "=" or as two words, with the path of each file that comes along."""
    left, found = list(args), list[Given]()
    while left:
        word = left.pop(0)
        name, equals, text = word.partition("=")
        flag = "--config" if name == "-c" else name
        if not flag.startswith("--") or not (equals or (left and (flag == "--config" or not left[0].startswith("--")))):
            found.append(Given((word,)))
            continue
        text = text if equals else left.pop(0)
        place = text if flag == "--config" and text.endswith(".yaml") else flag
        text, value = read_config(text) if flag == "--config" else (text, read_value(text))
        found.append(Given((f"{name}={text}",) if equals else (name, text), flag, value, place))
    return found


def as_arguments(given: Sequence[Given]) -> list[str]:
    """The arguments again."""
    return [word for each in given for word in each.words]


def nulls_as_yaml(given: Sequence[Given]) -> list[Given]:
    """Each flag with null in its value for an argument of a class, ``--a.init_args.b null``, as inline YAML.

    From one class to a class within it, jsonargparse (4.53) passes the value of a flag on as Python prints it, and null
    comes out as the text "None".
    """
    return [
        each.saying("--config", each.tree) if OF_A_CLASS.fullmatch(each.flag) and _holds_null(each.value) else each
        for each in given
    ]


def with_model_class(given: Sequence[Given]) -> list[Given]:
    """Put ``--model=CLASS`` right after the subcommand, so that files compose in any order.

    CLASS is the one named last, else `DEFAULT_MODEL`. A default of the parser would not do: jsonargparse (4.53) passes
    the default values of a default class to the class named later.
    """
    words = [each.words[0] for each in given]
    at = next((index + 1 for index, word in enumerate(words) if word in SUBCOMMANDS), None)
    if at is None:
        return list(given)
    return [*given[:at], Given((f"--model={model_class(given)}",)), *given[at:]]


def model_class(given: Sequence[Given]) -> str:
    """The model class named last, else `DEFAULT_MODEL`."""
    named = [class_of(settings["model"]) for each in given for settings in runs_in(each.tree)]
    return next((name for name in reversed(named) if name), DEFAULT_MODEL)


def note_replaced(given: Sequence[Given]) -> list[str]:
    """Lines that say which counts, if files and flags name different algorithms or relevance sources."""
    return [*_replaced(given, "model", "algorithm"), *_replaced(given, "rollout", "relevance")]


def _replaced(given: Sequence[Given], group: str, part: str) -> list[str]:
    named: list[tuple[str, str]] = []
    for each in given:
        for settings in runs_in(each.tree, group):
            path = class_of(arguments_of(settings[group]).get(part)) or ""
            name = path.rpartition(".")[2] if path.startswith("rtt_lightning.") else path
            if name and (not named or named[-1][1] != name):
                named.append((each.place, name))
    said = ", ".join(f"{place} {'' if index else 'names '}{name}" for index, (place, name) in enumerate(named))
    return [f"{said}: the {'latter' if len(named) == 2 else 'last'} counts"] if len(named) > 1 else []


def runs_in(tree: dict[str, Any], group: str = "model") -> Iterator[dict[str, Any]]:
    """The settings that contain a group: all, or those of a subcommand, in a file given before it."""
    for settings in (tree, *(tree.get(name) for name in SUBCOMMANDS)):
        if isinstance(settings, dict) and group in settings:
            yield settings


def algorithm_in(model: Any) -> str | None:
    """The algorithm class that the value of ``model`` names."""
    return class_of(arguments_of(model).get("algorithm"))


def arguments_of(value: Any) -> dict[str, Any]:
    """The arguments of the class that a value names: its ``init_args``, a level that flags may omit."""
    if not isinstance(value, dict):
        return {}
    inner = value.get("init_args")
    outer = {name: value[name] for name in value if name not in ("class_path", "init_args")}
    return outer | (inner if isinstance(inner, dict) else {})


def class_of(value: Any) -> str | None:
    """The class that a value names: by ``class_path``, or the value itself."""
    name = value.get("class_path") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def _holds_null(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_holds_null, parts))
