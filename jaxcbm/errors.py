"""The one exception that is a message to the user and not a fault of the program."""

from jaxcbm.lines import one_message


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2; a notebook shows it
    without one. What a message quotes may have been made by a stranger: ends of lines, marks of
    direction and what a terminal would obey are shown as escapes, and of 2,000 characters and more
    the middle is left out.

    >>> raise UserError("no such folder: pictures/ (give --config.data.root=FOLDER)")
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: no such folder: pictures/ (give --config.data.root=FOLDER)
    """

    def __init__(self, message: str = ""):
        super().__init__(one_message(message))

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in a traceback's place."""
        return [f"{type(self).__name__}: {self}"]
