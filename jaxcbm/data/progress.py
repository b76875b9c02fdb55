"""How far a long job is: a bar in a notebook, a moving line on a terminal, else plain lines."""

import html
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

_REDRAW_SECONDS = 0.2
_PLAIN_SECONDS = 10.0
# A cell often runs many short jobs, and keeps what was shown of each.
_CELL_PATIENCE = 1.0


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class ProgressLine:
    """Says what is done, how fast, and how long the rest takes.

    Call it with what is done and what there is. The rate counts only what was done since the
    first call, so that work found finished does not flatter it.

    Args:
        label: the first word of every line.
        unit: what is counted.
        stream: where to write; by default a bar below the cell of a notebook, else standard error.
        patience: seconds before the first word; a job that ends earlier says nothing.
        clock: seconds, rising.

    >>> line = ProgressLine("encode", "images", stream=sys.stdout, clock=iter([0.0, 2.0]).__next__)
    >>> line(0, 100); line(100, 100)
    encode: 100 images in 2 s (50.0 images/s)
    """

    def __init__(
        self,
        label: str,
        unit: str,
        stream: TextIO | None = None,
        patience: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.label, self.unit, self.clock = label, unit, clock
        self.cell = _CellBar() if stream is None and in_notebook() else None
        self.patience = max(patience, _CELL_PATIENCE) if self.cell else patience
        self.stream = stream if stream is not None else sys.stderr
        self.moving = self.stream.isatty()
        self.begun: float | None = None
        self.already = 0
        self.spoken = 0.0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Say how far it is; `note` stands at the end of the line."""
        now = self.clock()
        if self.begun is None:
            self.begun, self.already, self.spoken = now, done, now
            return
        seconds, new = now - self.begun, done - self.already
        if seconds < self.patience:
            return
        rate = new / seconds if seconds > 0 else 0.0
        speed, note = self._rate(rate), f"; {note}" if note else ""
        if done >= total:
            ending = f"{self.label}: {new} {self.unit} in {_duration(seconds)} ({speed}){note}"
            self._show(ending, 1.0)
        elif now - self.spoken >= (_REDRAW_SECONDS if self.moving or self.cell else _PLAIN_SECONDS):
            self.spoken = now
            left = _duration((total - done) / rate) if rate else "?"
            text = f"{self.label}: {done}/{total} {self.unit}, {speed}, {left} left{note}"
            self._show(text, done / total)

    def _show(self, text: str, share: float) -> None:
        """Replace what was shown before; a share of 1 ends the line."""
        if self.cell is not None:
            self.cell.show(text, share)
            return
        end = "" if self.moving and share < 1 else "\n"
        self.stream.write(f"\r\x1b[K{text}{end}" if self.moving else f"{text}{end}")
        self.stream.flush()

    def _rate(self, rate: float) -> str:
        return f"{rate:.3g} {self.unit}/s" if rate < 10 else f"{rate:.1f} {self.unit}/s"


class _CellBar:
    """A bar and its text below a cell. What is written to standard error would stand there in red,
    a line after the other."""

    def __init__(self):
        self._handle: Any = None

    def show(self, text: str, share: float) -> None:
        bar = f'<progress value="{share:.3f}" max="1" style="vertical-align: middle"></progress>'
        bar = f"<div>{bar} {html.escape(text)}</div>"
        shown = {"text/plain": text, "text/html": bar}
        if self._handle is None:
            from IPython.display import DisplayHandle

            self._handle = DisplayHandle()
            self._handle.display(shown, raw=True)
        else:
            self._handle.update(shown, raw=True)


def _duration(seconds: float) -> str:
    """Seconds for people: '42 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
