"""Files of models, from folders or the model hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from rtt_lightning.types.errors import UserError


@contextmanager
def reading(what: str, model: str, file: str) -> Iterator[None]:
    """Raise one clear error if `transformers` cannot read something.

    Args:
        what: Such as "a tokenizer".
        model: Folder or hub name.
        file: What the folder should hold.

    Raises:
        UserError: In place of the many errors for an unreadable folder or hub name; at once, without asking the hub,
            for a folder that does not exist.
    """
    try:
        if means_a_folder(model) and not (model and Path(model).is_dir()):
            raise UserError(f"no such folder from {Path.cwd()}.")
        yield
    except (OSError, ValueError, ImportError) as error:
        proxy = unusable_proxy_of_hub(model)
        if isinstance(error, ImportError) and not proxy:
            raise
        reason = f"{proxy}." if proxy else str(error).partition("\n")[0]
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
