"""What ends a command with one line instead of a traceback."""


class CommandFailed(Exception):
    """Something the user can mend; the text says what."""
