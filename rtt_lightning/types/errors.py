"""Errors that the user can fix."""


class UserError(ValueError):
    """A mistake in flags, files or arguments: its message says what, where and how to fix it; `rtt` ends with it."""
