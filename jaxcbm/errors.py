"""The one exception that is a message to the user and not a fault of the program."""


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.

    >>> raise UserError("no such folder: pictures/ (give --config.data.root=FOLDER)")
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: no such folder: pictures/ (give --config.data.root=FOLDER)
    """
