"""Versions of packages whose verdicts were compared with those of the official evaluators."""

from functools import cache
from importlib import metadata
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet

COMPARED = {"nltk": ">=3.9.3,<3.10", "if-verifiable": "==0.1.2"}
"""As in ``pyproject.toml``, which says why."""


@cache
def wrong_version(package: str) -> str:
    """That another version of a package is installed, and the mend; empty if nothing is wrong."""
    mend = f"pip install '{package}{COMPARED[package]}'"
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:  # a copy on the path says nothing of its version
        return "" if find_spec(package.replace("-", "_")) else f"{package} is not installed; {mend}"
    if SpecifierSet(COMPARED[package]).contains(version, prereleases=True):
        return ""
    return f"{package} {version} may judge otherwise than the official evaluators; {mend}"
