"""Default parts, such as the engine of a rollout, which a configuration can change.

They come from jsonargparse, which the command line needs. Without it, as in a notebook, a default part is a plain
instance.
"""

from typing import Any, TypeVar

Part = TypeVar("Part")

try:
    from jsonargparse.typing import lazy_instance
except ModuleNotFoundError:

    def lazy_instance(class_type: type[Part], **kwargs: Any) -> Part:
        """An instance of ``class_type`` made with ``kwargs``."""
        return class_type(**kwargs)


__all__ = ["lazy_instance"]
