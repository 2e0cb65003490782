"""Imports point one way."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = [
    {"servers"},
    {
        *("types", "seeds", "processes", "sharding", "logs"),
        *("terminal", "shipped", "hub", "lazy", "flags", "modes", "settings", "history"),
    },
    {"finite"},
    {"checkpoints"},
    {"functional", "merging"},
    {"tokenizers", "reasoning", "models", "forward", "stored", "mergeable", "fingerprint"},
    {"selfcheck", "policy_model", "origin"},
    {"engines", "verifiers", "relevance", "metrics"},
    {"datamodules", "callbacks"},
    {"training", "strategies", "resume", "folders", "cards"},
    {"policy", "discriminator"},
    {"export", "rejudge", "scoring"},
    {"cli", "__main__", "demo", "doctor"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
SIDEWAYS = {("callbacks", "datamodules"), ("functional", "types"), ("verifiers", "types")}


def imported(path: Path) -> set[str]:
    """First names below `rtt_lightning` that a file imports."""
    nodes = ast.walk(ast.parse(path.read_text()))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in names if name.startswith("rtt_lightning.")}


def test_every_file_imports_from_the_left_only() -> None:
    files = [*(ROOT / "rtt_lightning").rglob("*.py")]
    assert len(files) > 30
    for path in files:
        own = path.relative_to(ROOT / "rtt_lightning").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imported(path) - {own}:
            allowed = LEVEL[name] < LEVEL[own] or (own, name) in SIDEWAYS or LEVEL[own] == LEVEL["cli"]
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"
