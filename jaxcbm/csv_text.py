"""Cells of CSV files that spreadsheets must not run."""


def as_cell(text: str) -> str:
    """A text as it may stand in a cell: one that begins like a formula gets an apostrophe before.

    >>> as_cell("=1+1"), as_cell("red crown")
    ("'=1+1", 'red crown')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
