"""What the command line shows without a traceback."""


class UserError(Exception):
    """What the user asked for cannot be done; the message says why."""
