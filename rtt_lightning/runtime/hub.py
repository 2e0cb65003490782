"""Files of models, from folders or the model hub."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Thread

from huggingface_hub import constants, is_offline_mode
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import get_session, validate_repo_id
from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning.types.errors import UserError

DEADLINE = float(constants.HF_HUB_ETAG_TIMEOUT)
"""Seconds for the hub to answer anything at all: by its library's setting of that name, else 10."""


@contextmanager
def reading(what: str, model: str, file: str) -> Iterator[None]:
    """Raise one clear error if `transformers` cannot read something.

    Where the hub does not answer, only what was downloaded before is read: its library would ask again for a minute.

    Args:
        what: Such as "a tokenizer".
        model: Folder or hub name.
        file: What the folder should hold.

    Raises:
        UserError: In place of the many errors for an unreadable folder or hub name; at once, without asking the hub,
            for a folder that does not exist.
    """
    silence = "" if means_a_folder(model) or Path(model).is_dir() or is_offline_mode() else silence_of_hub(ENDPOINT)
    try:
        if means_a_folder(model) and not (model and Path(model).is_dir()):
            raise UserError(f"no such folder from {Path.cwd()}.")
        with _offline() if silence else nullcontext():
            yield
        if silence:
            rank_zero_warn(f"{ENDPOINT} does not answer ({silence}): {model} is what was downloaded before")
    except (OSError, ValueError, ImportError) as error:
        proxy = unusable_proxy_of_hub(model)
        if isinstance(error, ImportError) and not proxy:
            raise
        reason = f"{proxy}." if proxy else str(error).partition("\n")[0]
        if silence and not proxy:
            reason = f"{reason} {ENDPOINT} does not answer: {silence}."
        if "/" in model and not means_a_folder(model):
            reason = f"there is no folder of that name in {Path.cwd()}, and as a name of the hub: {reason}"
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{model!r} comes with code of its own, which is run only if asked to: read it, then give "
                "--trust_remote_code true to rtt export, and --model.init_args.trust_remote_code true elsewhere"
            ) from error
        raise UserError(
            f"cannot read {what} from {model!r}: {reason} "
            f"Give a folder that holds {file}, or a hub name while the hub is reachable."
        ) from error


@cache
def silence_of_hub(endpoint: str) -> str:
    """Why the hub does not answer; empty if it does. It is asked once by a process."""
    found = [f"no reply within {DEADLINE:g} seconds"]

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=DEADLINE)
            found.append("")
        except Exception as error:  # of whichever HTTP client the hub's library uses
            found.append(str(error) or type(error).__name__)

    asking = Thread(target=ask, daemon=True)  # the time to find and try each of its addresses has no limit of its own
    asking.start()
    asking.join(DEADLINE)
    return found[-1]


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's library from asking; as HF_HUB_OFFLINE, which it reads when it is imported."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def means_a_folder(model: str) -> bool:
    """Whether a name can only mean a folder: its parent folder exists, or it is not a valid hub name."""
    try:
        validate_repo_id(model)
    except HFValidationError:
        return True
    return "/" in model and Path(model).parent.is_dir()


def unusable_proxy_of_hub(model: str) -> str:
    """A message if the hub is behind a proxy that cannot be used; else empty."""
    from rtt_lightning.runtime.servers import unusable_proxy  # slow: loads an HTTP client

    return "" if means_a_folder(model) or Path(model).is_dir() else unusable_proxy(ENDPOINT)
