"""What is the user's to mend."""


class UserError(ValueError):
    """A mistake in flags, files or arguments: its message says what, where and how to mend it. `rtt` ends with that."""
