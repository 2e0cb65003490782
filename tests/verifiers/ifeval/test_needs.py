"""Versions of packages by which verdicts change: named with the fix, and never silently used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtt_lightning.verifiers.ifeval.needs import COMPARED, wrong_version
from tests.conftest import ROOT

CHECK = """
import rtt_lightning, sys
from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.rules.checkers import Checkers

for name, kwargs in (("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}),
                     ("punctuation:no_comma", {}), ("rtt:no_commas", {})):
    verdict = Checkers({}).decide(Criterion("x", name, kwargs), "One. Two.")
    print(verdict.met if verdict.met is not None else verdict.reason)
"""


def test_what_is_installed_is_what_was_compared() -> None:
    assert [wrong_version(package) for package in COMPARED] == ["", ""]
    dependencies = (ROOT / "pyproject.toml").read_text()
    assert [f'"{package}{versions}"' in dependencies for package, versions in COMPARED.items()] == [True, True]


@pytest.mark.parametrize(
    ("package", "version", "unscorable"),
    [("nltk", "3.10.4", 1), ("nltk", "3.9.2", 1), ("if_verifiable", "0.1.3", 2)],
)
def test_another_version_is_named_at_the_first_use_of_what_it_changes(
    tmp_path: Path, package: str, version: str, unscorable: int
) -> None:
    about = tmp_path / f"{package}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: {version}\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name = package.replace("_", "-")
    wrong = f"{name} {version} may judge differently from the official evaluators; pip install '{name}{COMPARED[name]}'"
    found = done.stdout.splitlines()
    assert found[:unscorable] == [wrong] * unscorable
    assert wrong not in found[unscorable:]
    assert found[2] == "True"
