"""Errors that a user can correct, as against defects of the program.

They are raised where a user is addressed, with one sentence: what was expected, what was given, what to do.
The command line prints that sentence and ends with status 2; every other exception keeps its traceback.
"""


class UserError(ValueError):
    """A value, option, table or configuration that the user can correct."""


class UserFileError(OSError):
    """A file or folder that the user can move, name or provide."""


class UserFileExistsError(UserFileError, FileExistsError):
    """Something stands where a result is to be written."""


class UserFileNotFoundError(UserFileError, FileNotFoundError):
    """A file or folder that is needed is not there."""
