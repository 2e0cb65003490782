"""Imports point one way: each room may import from those before it, and from itself."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rtt_lightning
from tests.conftest import ROOT

LAYERS = (
    {"names"},
    {"types"},
    {"functional"},
    {"runtime"},
    {"lm"},
    {"algorithms", "engines", "verifiers", "relevance", "metrics"},
    {"rollout"},
    {"datamodules"},
    {"modules", "reports"},
    {"annotation", "comparison"},
    {"callbacks"},
    {"__init__"},
    {"commands", "policy"},
    {"cli"},
    {"__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
PACKAGE = ROOT / "rtt_lightning"
FILES = [path for folder in (PACKAGE, PACKAGE / "callbacks", PACKAGE / "datamodules") for path in folder.rglob("*.py")]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, also within its functions."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    modules += [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    return {(name + ".__init__").split(".")[1] for name in modules if name.split(".")[0] == "rtt_lightning"}


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} == LEVEL.keys()
    assert len({*PACKAGE.glob("*.py")}) <= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_from_the_rooms_before_its_own(path: Path) -> None:
    own = room_of(path)
    wrong = {name for name in imported(path) - {own} if LEVEL[name] >= LEVEL[own]}
    assert not wrong, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(wrong))}"


VERIFIERS = {
    "forecast": set(), "base": {"forecast"}, "ifeval": {"base"}, "rules": {"base", "ifeval"},
    "judge": {"base", "forecast"}, "code": {"base"},
}  # fmt: skip
"""What each of its rooms may import of the others."""


@pytest.mark.parametrize("room", VERIFIERS)
def test_the_verifiers_are_rooms_as_well(room: str) -> None:
    files = [*(PACKAGE / "verifiers" / room).glob("*.py"), *(PACKAGE / "verifiers").glob(f"{room}.py")]
    names = {
        name for path in files for name in re.findall(r"rtt_lightning\.verifiers\.(\w+)\S* import", path.read_text())
    }
    assert names - {room} <= VERIFIERS[room]


@pytest.mark.parametrize("room", ["types", "verifiers"])
def test_processes_that_check_rules_start_without_torch(room: str) -> None:
    files = [path.relative_to(ROOT).with_suffix("") for path in (PACKAGE / room).rglob("*.py")]
    names = [
        ".".join(path.parts).removesuffix(".__init__") for path in files if path.stem not in ("batches", "experience")
    ]
    code = f"import {', '.join(names)}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# -- public names --------------------------------------------------------------------------------------------------

ROOMS = ("algorithms", "callbacks", "datamodules", "engines", "modules", "relevance", "verifiers")
PACKAGES = ["rtt_lightning", *(f"rtt_lightning.{room}" for room in ROOMS)]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_what_it_imports_for_type_checkers_and_nothing_else(package: str) -> None:
    module = import_module(package)
    assert {*module.__all__} <= {*dir(module)}
    assert all(getattr(module, name).__name__ == name for name in module.__all__)
    with pytest.raises(AttributeError, match=f"has no attribute '{module.__all__[0]}x'; did you mean"):
        getattr(module, f"{module.__all__[0]}x")


def test_help_says_what_each_public_name_is_for() -> None:
    assert [name for name in rtt_lightning.__all__ if name not in (rtt_lightning.__doc__ or "")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_before_it_is_asked(package: str) -> None:
    heavy = "{'torch', 'lightning', 'transformers', 'numpy', 'jsonargparse', 'httpx2'}"
    code = f"import {package}, sys; sys.exit(', '.join({heavy} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""
