"""Shapes in signatures, by jaxtyping, which tests check; without it, just tensors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ModuleNotFoundError:

        class Bool:
            """``Bool[Tensor, "batch token"]`` is `Tensor`; so are the others."""

            def __class_getitem__(cls, tensor_and_axes: tuple[Any, str]) -> Any:
                return tensor_and_axes[0]

        Float = Int = Bool

__all__ = ["Bool", "Float", "Int"]
