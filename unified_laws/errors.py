"""The one error that is written for people."""


class UsageError(ValueError):
    """A mistake of the user in one line: what was asked, got, is allowed, and what to do.

    The entry modules print its text alone (no traceback) and exit with code 2.
    """
