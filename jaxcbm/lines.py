"""Lines of text for a terminal, and what stands in them."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines whose columns stand below each other; `right`: columns of numbers.

    >>> aligned([("seed", "9"), ("a", "10")], right=(1,))
    ['seed   9', 'a     10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def first_line(error: Exception) -> str:
    """What an exception says, without what follows its first line; its type if it says nothing.

    >>> first_line(ValueError("no such file\\nin detail"))
    'no such file'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def gib(count: float) -> str:
    """Bytes for people.

    >>> gib(2**30), gib(3 * 2**20), gib(0)
    ('1.00 GiB', '3.00 MiB', '0.00 MiB')
    """
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:,.2f} MiB"
