"""The ways to show the live view: lines, or blocks that are redrawn in a terminal or a notebook."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, Protocol, TextIO

from evalpool._clock import monotonic
from evalpool.cli._blocks import block
from evalpool.cli._lines import say
from evalpool.cli._prints import Captured, is_process_stdout
from evalpool.cli._words import example_of, line_of

__all__ = ["Display", "Lines", "display_on"]

LINES_EVERY = 30.0
"""Seconds between two lines if a view cannot be redrawn, except for the first and the last."""


class Display(Protocol):
    """Shows summaries."""

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None: ...

    def close(self) -> None: ...


def display_on(plain: bool | None, file: TextIO) -> Display:
    """A display of blocks, or of lines if `plain` is True; if it is None, what `file` can show."""
    notebook = _in_notebook()
    if plain is None:
        plain = not notebook and (not file.isatty() or os.environ.get("TERM") in ("dumb", None, "unknown"))
        if not plain:
            try:
                import rich  # noqa: F401
            except ImportError:
                plain = True
    if plain:
        return Lines(file)
    return _Notebook() if notebook else _Blocks(file)


class Lines:
    """A line for each search, every half minute."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._due = 0.0
        self._told: set[tuple[str, str]] = set()

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None:
        new = [[one for one in summary["failure_examples"] if self._is_new(summary, one)] for summary in summaries]
        if last or monotonic() >= self._due or any(new):  # a failure of a new sort is shown at once
            self._due = monotonic() + LINES_EVERY
            for summary, examples in zip(summaries, new, strict=True):
                failures = [f"; job {one['job_id']}: {example_of(one)}" for one in examples]
                say(line_of(summary) + "".join(failures), indent=2, file=self._file)
            self._file.flush()

    def _is_new(self, summary: dict[str, Any], example: dict[str, Any]) -> bool:
        key = summary["search_id"], example["objective"]
        is_new = key not in self._told
        self._told.add(key)
        return is_new

    def close(self) -> None:
        """Do nothing: lines need no cleaning up."""


class _Blocks:
    """Blocks that are redrawn in their place."""

    def __init__(self, file: TextIO) -> None:
        # We redraw when there is something new; rich's own thread would redraw all the time.
        from rich.live import Live

        from evalpool.cli._blocks import console

        # What this process prints goes above the block; into a file, if it goes into one.
        on_terminal = sys.stdout.isatty()
        self._live = Live(console=console(file), auto_refresh=False, transient=False, redirect_stdout=on_terminal)
        self._live.start()
        # So does what workers print, which write to the descriptor.
        captures = on_terminal and is_process_stdout() and self._live.console.is_terminal
        self._prints = Captured(self._print) if captures else None

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None:
        self._live.update(block(summaries), refresh=True)

    def close(self) -> None:
        if self._prints is not None:
            self._prints.close()
        self._live.stop()


class _Notebook:
    """The same blocks, as one output of a cell that is replaced."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None:
        from IPython.display import HTML, display

        from evalpool.cli._blocks import console

        page = console(io.StringIO(), record=True)
        page.print(block(summaries))
        html = HTML(page.export_html(inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>'))
        if self._handle is None:
            self._handle = display(html, display_id=True)
        else:
            self._handle.update(html)

    def close(self) -> None:
        """Do nothing: the cell keeps what was shown last."""


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
