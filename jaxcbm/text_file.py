"""Text files that people wrote."""

from pathlib import Path

from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import read_ordinary


def read_text(path: Path | str, hint: str = "") -> str:
    """A UTF-8 file, with or without a byte order mark; its line ends are "\\n".

    Args:
        path: the file.
        hint: what the file should be, added where there is none.

    Raises:
        UserError: no such file, not UTF-8 (says in which line), or it cannot be read.
    """
    try:
        text = read_ordinary(path).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}{hint and f' ({hint})'}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def is_utf8(text: str) -> bool:
    """Whether a text can be written: JSON's escapes can spell halves of characters, which cannot.

    >>> is_utf8("caf\\xe9"), is_utf8("\\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
