"""Default parts of a part, such as the engine of a rollout, which a configuration can take apart and change.

They come from jsonargparse, which the command line needs. In a notebook, or on a machine without it, a default part is
a plain instance.
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
