"""Files that are there as a whole or not at all."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text so that a process that is killed meanwhile leaves what was there before."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
