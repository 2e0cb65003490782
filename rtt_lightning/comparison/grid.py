"""A grid of runs: methods x models x seeds under one budget, as a YAML file says it. `EXAMPLE` is one.

What a part adds is the name of a YAML file, or a flag with its value, as for `rtt fit`; or a list of these. Later ones
win: first what is ``shared``, then the model's, then the method's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rtt_lightning.names import did_you_mean
from rtt_lightning.types.errors import UserError

EXAMPLE = """\
    folder: runs/compare/mine            # a folder per run in it
    shared: [demo/policy.yaml, --trainer.max_steps=16]
    evaluate: 4                          # updates between two evaluations
    seeds: [0, 1, 2]
    methods:
      grpo-csr: methods/grpo-csr.yaml
      rtt: [methods/rtt.yaml, --rollout.relevance=RuleSpans]
    models: {}                           # optional, by name, what each adds
    baseline: grpo-csr                   # optional: the first method
    frontier: 0                          # optional: responses per prompt
"""
"""All keys, in words; the last three may be left out."""
KEYS = ("folder", "shared", "evaluate", "seeds", "methods", "models", "baseline", "frontier")
NAME = re.compile(r"[\w.+-]+")
OWN = (
    "seed_everything", "ckpt_path", "rollout.output", "trainer.logger", "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch", "trainer.max_time",
)  # fmt: skip
"""Settings that a comparison gives each run itself."""


@dataclass(frozen=True)
class Run:
    """One run of a grid.

    Attributes:
        method: Its name in the grid.
        model: Likewise; empty where the grid has only one.
        seed: Of training, data and sampling.
        settings: Arguments of `rtt fit` that say what is trained.
        root: The folder of the grid.
    """

    method: str
    model: str
    seed: int
    settings: tuple[str, ...]
    root: Path

    @property
    def name(self) -> str:
        """As people give it, also the path of its folder in the grid's."""
        return "/".join(part for part in (self.method, self.model, f"seed-{self.seed}") if part)

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def output(self) -> Path:
        """Where its completions are."""
        return self.folder / "responses"

    @property
    def start(self) -> Path:
        """Where the responses of its policy before training are, which the methods share."""
        return self.root / "start" / self.model / f"seed-{self.seed}"


@dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        folder: For everything that is written.
        runs: Of all methods, models and seeds; the seeds of a method together.
        baseline: The method that the others are compared with.
        evaluate: Updates between two evaluations.
        frontier: Responses per prompt of the policy before training to find the frontier with; 0 for none.
    """

    folder: Path
    runs: tuple[Run, ...]
    baseline: str
    evaluate: int
    frontier: int

    @cached_property
    def methods(self) -> list[str]:
        return [*dict.fromkeys(run.method for run in self.runs)]

    @cached_property
    def models(self) -> list[str]:
        return [*dict.fromkeys(run.model for run in self.runs)]

    @cached_property
    def seeds(self) -> list[int]:
        return [*dict.fromkeys(run.seed for run in self.runs)]

    def run(self, name: str) -> Run:
        """The run of a name.

        Raises:
            UserError: If there is none.
        """
        known = {run.name: run for run in self.runs}
        if name not in known:
            raise UserError(f"the grid has no run {name!r}; its runs are {', '.join(known)}{did_you_mean(name, known)}")
        return known[name]


def read_grid(path: Path) -> Grid:
    """The grid that a YAML file describes.

    Raises:
        UserError: If it is not YAML, or does not describe one.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, Mapping):
        raise UserError(f"{path} should hold {', '.join(KEYS)}, got {type(given).__name__}")
    try:
        return _grid(given)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _grid(given: Mapping[str, Any]) -> Grid:
    for key in given:
        if key not in KEYS:
            raise UserError(f"unknown key {key!r}, expected {', '.join(KEYS)}{did_you_mean(str(key), KEYS)}")
    missing = [key for key in ("folder", "evaluate", "seeds", "methods") if key not in given]
    if missing:
        raise UserError(f"{' and '.join(missing)} missing; `rtt compare --help` shows what a grid is made of")
    methods, models = _named(given, "methods"), _named(given, "models") or {"": []}
    seeds, folder, baseline = given["seeds"], given["folder"], given.get("baseline", next(iter(methods), ""))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f"seeds should be a list of numbers from 0 up, such as [0, 1, 2], got {seeds!r}")
    if len({*seeds}) < len(seeds):
        raise UserError(f"seeds holds some twice: {seeds}; each run needs its own")
    if not methods or baseline not in methods:
        raise UserError(
            f"baseline should be one of the methods, {', '.join(methods) or 'of which there is none'}; got {baseline!r}"
        )
    if not isinstance(folder, str) or not folder:
        raise UserError(f"folder should be a path, got {folder!r}")
    shared, root = _parts("shared", given.get("shared")), Path(folder)
    runs = [
        Run(method, model, seed, (*shared, *of_model, *of_method), root)
        for method, of_method in methods.items()
        for model, of_model in models.items()
        for seed in seeds
    ]
    return Grid(root, tuple(runs), baseline, _count(given, "evaluate", 1), _count(given, "frontier", 0))


def _named(given: Mapping[str, Any], key: str) -> dict[str, list[str]]:
    """What each method or model adds, by name."""
    found = given.get(key) or {}
    if not isinstance(found, Mapping):
        raise UserError(
            f"{key} should name each and what it adds, such as {{grpo: methods/grpo-csr.yaml}}, got {found!r}"
        )
    for name in found:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in ("start", "frontier", ".", ".."):
            raise UserError(
                f"{key} names {name!r}: it becomes a folder; take letters, digits, dots and dashes, and not 'start' or "
                "'frontier'"
            )
    return {name: _parts(f"{key}.{name}", parts) for name, parts in found.items()}


def _parts(where: str, given: Any) -> list[str]:
    """Arguments of `rtt fit` from names of files and flags."""
    parts = [given] if isinstance(given, str) else given or []
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise UserError(
            f"{where} should be a YAML file, a flag such as --trainer.max_steps=16, or a list of these; got {given!r}"
        )
    wrong = [
        part for part in parts if not (part.startswith("--") and "=" in part) and not part.endswith((".yaml", ".yml"))
    ]
    if wrong:
        raise UserError(
            f"{where} holds {wrong[0]!r}, expected the name of a .yaml file, or a flag with its value, --NAME=VALUE"
        )
    own = [part for part in parts if part.removeprefix("--").partition("=")[0] in OWN]
    if own:
        raise UserError(f"{where} holds {own[0]!r}, which a comparison sets for each run itself; leave it out")
    return [part if part.startswith("--") else f"--config={part}" for part in parts]


def _count(given: Mapping[str, Any], key: str, least: int) -> int:
    value = given.get(key, least)
    if type(value) is not int or value < least:
        raise UserError(f"{key} should be a number from {least} up, got {value!r}")
    return value
