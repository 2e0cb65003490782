"""Public names of a package, each imported when it is first asked for: `import rtt_lightning` costs nothing."""

import ast
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any


def lazily(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package, for the names that its source imports under ``if TYPE_CHECKING``.

    So names are written once, where type checkers read them.
    """
    module = sys.modules[package]
    source = module.__spec__.loader.get_source(package)  # type: ignore[union-attr]
    [block] = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    places = {name.name: node.module or package for node in imports for name in node.names}

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{did_you_mean(name, places)}")
        value = getattr(import_module(places[name]), name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted({*vars(module), *places})


def did_you_mean(name: str, known: Any) -> str:
    """The nearest known name, as the end of a sentence; empty if none is near."""
    close = get_close_matches(name, [*known], n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else ""
