"""Whether arguments fit a checker: their names, and for built-in rules their kinds and ranges."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import Any, get_args

KINDS = {
    int: "a whole number of 0 or more", str: "a text", bool: "true or false", Sequence[str]: "a list of texts",
    NoneType: "null",
}  # fmt: skip
"""What the arguments of rules are annotated with; all of their numbers count something."""


def misnamed(checker: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Which arguments a checker takes, after an answer, and which it got, if these are not such; else empty."""
    try:
        takes = signature(checker)
    except ValueError:  # a checker written in C
        return ""
    try:
        takes.bind("", **arguments)
    except TypeError:
        given = ", ".join(f"`{name}`" for name in arguments)
        return f"takes {listed_parameters(takes) or 'no arguments'}, got {given or 'none'}"
    return ""


def listed_parameters(of: Signature) -> str:
    """The parameters of a checker after the answer, with their defaults."""
    return ", ".join(
        f"`{each.name}`" if each.default is Parameter.empty else f"`{each.name}={each.default}`"
        for each in [*of.parameters.values()][1:]
    )


def misfit(rule: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """What is wrong with values of a rule's arguments: one of another kind, or bounds between which nothing is."""
    takes = signature(rule)
    for name, value in arguments.items():
        annotation = takes.parameters[name].annotation
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if not any(_is(value, kind) for kind in kinds):
            return f"needs {' or '.join(KINDS[kind] for kind in kinds)} as `{name}`, got {value!r:.80}"
    bound = takes.bind("", **arguments)
    bound.apply_defaults()
    for low, least in bound.arguments.items():
        most = bound.arguments.get(high := low.replace("low", "high"))
        if high != low and most is not None and most < least:
            return f"can never be met with `{low}={least}` and `{high}={most}`"
    return ""


def _is(value: Any, kind: Any) -> bool:
    if kind == Sequence[str]:
        return isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value)
    return type(value) is kind and (kind is not int or value >= 0)
