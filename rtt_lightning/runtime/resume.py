"""Finds the checkpoint that a user means by ``--ckpt_path``."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from rtt_lightning.runtime.checkpoints import META, POINTER, checkpoints, newest
from rtt_lightning.types.errors import UserError

KEYWORDS = ("best", "last", "hpc", "registry")
"""Keywords of Lightning, for checkpoints of its own callbacks."""
FILES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
"""Suffixes of names that mean files, never folders."""
OURS = "step-[0-9]*.ckpt"
LEFTOVERS = (".partial", ".abandoned")
"""Suffixes of what a run killed before its first checkpoint leaves in its folder, and of set-aside files."""
ADVICE = "give the .ckpt that `rtt fit` wrote, or the folder of them"


def find_checkpoint(given: str | Path, begin: bool) -> str | None:
    """The checkpoint that a user means: itself, or the newest one of a folder of them.

    Args:
        given: A checkpoint, or a folder that `Checkpoints` writes to; ``~`` is the home.
        begin: Whether a folder that does not exist, or has no checkpoint yet, means to start from the beginning: so
            one command starts and resumes a run.

    Raises:
        UserError: For anything else.
    """
    path = Path(given).expanduser()
    if path.name == POINTER and path.is_file():
        path = path.parent
    if path.is_file() or (path / META).is_file():
        return str(path)
    if not path.exists():
        _refuse_unless_new(str(given), path)
    elif not path.is_dir():
        raise UserError(f"{path} is neither a file nor a folder; {ADVICE}")
    found = _newest(path) if path.is_dir() else None
    if found is None and not begin:
        raise UserError(f"no checkpoint in {path}; {ADVICE}")
    said = f"{'resuming from' if begin else 'reading'} {found}"
    rank_zero_info(said if found else f"no checkpoint in {path} yet: starting from the beginning")
    return None if found is None else str(found)


def _refuse_unless_new(given: str, path: Path) -> None:
    """Raise for a missing path that cannot be the name of a new folder."""
    if given in KEYWORDS or given.startswith("registry:"):
        raise UserError(f"--ckpt_path {given}: this keyword of Lightning finds no checkpoint of ours; {ADVICE}")
    if "://" in given:
        raise UserError(f"--ckpt_path {given}: only local files are read; copy it to this machine first")
    if path.is_symlink():
        raise UserError(f"{path} is a link to {path.readlink()}, which is gone; {ADVICE}")
    if path.suffix in FILES or path.name == POINTER:
        raise UserError(f"no checkpoint at {path}; {ADVICE}")
    if (meant := path.with_name(f"{path.name}.ckpt")).exists():
        raise UserError(f"no checkpoint at {path}; did you mean {meant}?")


def _newest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder; ``None`` where nothing was saved yet."""
    if named := newest(folder):
        return named
    if ours := sorted(folder.glob(OURS)):  # they get their names only when complete
        return ours[-1]
    if others := checkpoints(folder):
        raise UserError(
            f"{folder} holds checkpoints, but no {POINTER!r} that names the newest, as `Checkpoints` writes it; "
            f"give one of them as --ckpt_path: {_listed(others)}"
        )
    strangers = [path for path in sorted(folder.iterdir()) if not _is_leftover(path)]
    if strangers:
        within = sorted({path.parent for path in folder.glob("*/*.ckpt")})
        raise UserError(
            f"no checkpoint in {folder}, which is not empty either: it holds {_listed(strangers)}; "
            + (f"did you mean {_listed(within)}?" if within else f"{ADVICE}; leave --ckpt_path out to begin a run")
        )
    return None


def _is_leftover(path: Path) -> bool:
    return path.suffix in LEFTOVERS or path.name.startswith(".")


def _listed(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
