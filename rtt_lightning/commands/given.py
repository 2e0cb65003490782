"""What arguments give, read before the parser reads them: each ``--config`` and flag as nested dictionaries."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

SUBCOMMANDS = ("fit", "validate", "test", "predict")
DEFAULT_MODEL = "rtt_lightning.modules.PolicyModule"


def with_model_class(args: Sequence[str]) -> list[str]:
    """Arguments with ``--model=CLASS`` right after the subcommand, so that files compose in any order.

    The class is the one that is named last, `DEFAULT_MODEL` where none is. A default of the parser would not do:
    jsonargparse (4.53) hands the default values of a default class on to a class that is named later.
    """
    at = next((index + 1 for index, arg in enumerate(args) if arg in SUBCOMMANDS), None)
    if at is None:
        return list(args)
    named = [class_of(tree.get("model")) for _, tree in given(args)]
    model = next((name for name in reversed(named) if name), DEFAULT_MODEL)
    return [*args[:at], f"--model={model}", *args[at:]]


def given(args: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each ``--config`` and each flag that has a value: how a user knows it, and what it sets. Later ones count."""
    subcommand = next((arg for arg in args if arg in SUBCOMMANDS), "")
    for name, value in flags(args):
        if name in ("--config", "-c"):
            tree = _tree(value)
            yield value, tree.get(subcommand) or tree  # a file before the subcommand names it
        elif name.startswith("--"):
            loaded = _loaded(value)
            for key in reversed(name.removeprefix("--").split(".")):
                loaded = {key: loaded}
            yield name, loaded


def flags(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The name and value of each flag, whether it is written with "=" or as two arguments."""
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if not arg.startswith("-") or (index and args[index - 1] in ("--config", "-c")):
            continue
        if equals:
            yield name, value
        elif index + 1 < len(args) and not args[index + 1].startswith("--"):
            yield name, args[index + 1]


def class_of(value: Any) -> str | None:
    """The class that the value of an argument names: by ``class_path``, or by itself."""
    name = value.get("class_path") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def _tree(config: str) -> dict[str, Any]:
    """A YAML file or inline YAML; nothing where it is no mapping: the parser says what is wrong."""
    try:
        loaded = _loaded(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        loaded = _loaded(config)
    return loaded if isinstance(loaded, dict) else {}


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
