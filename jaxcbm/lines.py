"""Lines of text for a terminal, and what stands in them."""

from collections.abc import Sequence

# What a message quotes may come from a file of a stranger, and may be a megabyte of it.
_LONGEST_MESSAGE = 2000


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


def first_line(error: BaseException) -> str:
    """What an exception says, without what follows its first line; its type if it says nothing.

    >>> first_line(ValueError("no such file\\nin detail"))
    'no such file'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str, most: int = 80) -> str:
    """A text as a log shows it: short, and with nothing that a terminal would obey.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    shown = _visible(text[:most])
    return shown if len(shown) < most else f"{shown[: most - 3]}..."


def one_message(text: str) -> str:
    """A text as one line that can be read to its end: long ones lose their middle.

    >>> one_message("no such file: a\\nb"), len(one_message("x" * 10_000))
    ('no such file: a\\\\nb', 2000)
    """
    # Escapes are longer than what they stand for.
    return _shortened(_visible(_shortened(text)))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[: _LONGEST_MESSAGE - 605]} ... {text[-600:]}"


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def gib(count: float) -> str:
    """Bytes for people.

    >>> gib(2**30), gib(3 * 2**20), gib(0)
    ('1.00 GiB', '3.00 MiB', '0.00 MiB')
    """
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:,.2f} MiB"
