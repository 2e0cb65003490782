"""Files of models, from folders or the model hub."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reading(what: str, model: str, file: str) -> Iterator[None]:
    """Say what could not be read, and what would mend it, where `transformers` cannot reach it.

    Args:
        what: What is read, such as "a tokenizer".
        model: Folder or hub name.
        file: What the folder should hold.

    Raises:
        ValueError: In place of the many errors of a folder or hub name that cannot be read.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"cannot read {what} from {model!r}: {reason} "
            f"Give a folder that holds {file}, or a hub name while the hub is reachable."
        ) from error
