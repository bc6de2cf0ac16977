"""The live view: how the searches of a storage go, in a terminal, a log or a notebook.

It follows the storage by a cursor, so a look costs what is new; it looks every half a second, for a storage has no
bell that rings in another process. The same view is shown by ``run``, by ``watch``, and by programs of one's own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from evalpool._clock import monotonic
from evalpool._guard import Guard, guarded_thread
from evalpool._log import get_logger
from evalpool.cli._blocks import block
from evalpool.cli._campaign import Campaign, Watcher
from evalpool.cli._prints import Captured, is_ours
from evalpool.cli._stores import Awaited, followed
from evalpool.cli._words import clean, example_of, line_of, write_json
from evalpool.errors import BadArgument, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

    from evalpool.storage import Storage

__all__ = ["LiveView", "main", "watch"]

logger = get_logger()

LINES_EVERY = 30.0
"""Seconds between two lines where a view cannot be redrawn, but for the first and the last."""
MOST_BLOCKS = 4
"""Searches that are shown at the same time."""


class _Display(Protocol):
    """Where summaries are shown."""

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None: ...

    def close(self) -> None: ...


class LiveView:
    """Shows how a search goes while the block runs; in a thread of its own.

    With rich (extra ``live``) a block per search that is redrawn in its place, in a terminal and in a notebook; else,
    and in a pipe or a dumb terminal, a line every half a minute::

        with LiveView(evaluator.storage), evaluator:
            optimize(evaluator, optimizer, max_evals=100)

    Args:
        storage: what to follow; or its URL or path, which may not be there yet.
        search_id: which search; None for those that somebody works on, or the latest.
        interval: seconds between two looks.
        plain: True: lines; False: blocks, which need rich; None: what `file` can show.
        file: stderr if None.

    Raises:
        BadArgument: `interval` is not above 0, or a text names no storage that outlives its program.
        MissingExtra: blocks were asked for and there is no rich.
    """

    def __init__(
        self,
        storage: Storage | str,
        search_id: str | None = None,
        *,
        interval: float = 0.5,
        plain: bool | None = None,
        file: TextIO | None = None,
    ) -> None:
        if not interval > 0:
            raise BadArgument(f"interval is {interval!r}; give seconds above 0.")
        self._opened = ExitStack()
        self._follower = _Follower(followed(storage, self._opened), search_id)
        self._interval = interval
        self._display = _display(plain, sys.stderr if file is None else file)
        self._over = threading.Event()
        self._has_ended = False
        self._thread = guarded_thread("evalpool-live", Guard("The live view"), self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._opened:
            self._thread.join()

    def _work(self) -> bool:
        if self._has_ended:  # and closing the display raised
            return False
        self._has_ended = True
        try:
            while not self._over.wait(self._interval):
                if self._follower.look():
                    self._display.show(self._follower.summaries(), last=False)
            self._follower.look()
            self._display.show(self._follower.summaries(), last=True)
        except Exception as error:  # what cannot be read, or shown, concerns the view, not the search beside it
            foreseen = isinstance(error, StorageError)
            logger.warning("The live view ends: %s", error, exc_info=None if foreseen else error)
        finally:
            self._display.close()
        return False


def watch(
    storage: Storage | str,
    search_id: str | None = None,
    *,
    interval: float = 0.5,
    plain: bool | None = None,
    file: TextIO | None = None,
) -> None:
    """Show how a search goes until nobody works on it any more. Arguments as `LiveView`; stdout if `file` is None."""
    if not interval > 0:
        raise BadArgument(f"interval is {interval!r}; give seconds above 0.")
    with ExitStack() as opened:
        follower = _Follower(followed(storage, opened), search_id)
        _show(follower, interval, _display(plain, sys.stdout if file is None else file))


def main(arguments: argparse.Namespace) -> int:
    """``evalpool watch``."""
    with Awaited(arguments.store) as storage:
        storage.search_of(arguments.search_id)
        if not storage.is_there:
            sys.stderr.write(f"evalpool watch: waiting for {clean(arguments.store)}; Ctrl-C ends.\n")
        follower = _Follower(storage, arguments.search_id)
        if not arguments.json:
            _show(follower, arguments.interval, _display(None, sys.stdout))
            return 0
        shown: dict[str, Any] = {}
        for summaries, _ in _until_over(follower, arguments.interval):
            for summary in summaries:
                news = {key: summary[key] for key in ("state", "jobs", "best", "standing")}
                if shown.get(summary["search_id"]) != news:
                    shown[summary["search_id"]] = news
                    write_json(summary)
                    sys.stdout.flush()
    return 0


def _show(follower: _Follower, interval: float, display: _Display) -> None:
    with contextlib.closing(display):
        for summaries, last in _until_over(follower, interval):
            display.show(summaries, last=last)


def _until_over(follower: _Follower, interval: float) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    pause = threading.Event()
    while True:
        follower.look()
        over = follower.is_over
        yield follower.summaries(), over
        if over:
            return
        pause.wait(interval)  # never set: nobody tells us that another process wrote


class _Follower:
    """Which searches are shown, and how they stand."""

    def __init__(self, storage: Storage | Awaited, search_id: str | None) -> None:
        self._watcher = Watcher(storage)
        self._search_id = search_id
        self.trouble: str | None = None

    def look(self) -> bool:
        """Whether there is something to show: news, or clocks that go on."""
        try:
            self._watcher.look()
            self.trouble = None
        except StorageUnavailable as error:
            self.trouble = str(error)  # shown; what was missed comes with the next look that succeeds
        return bool(self._shown())

    def _shown(self) -> list[Campaign]:
        campaigns = self._watcher.campaigns
        if self._search_id is not None:
            return [campaigns[self._search_id]] if self._search_id in campaigns else []
        live = [campaign for campaign in campaigns.values() if not campaign.is_over]
        latest = self._watcher.latest()
        if latest is not None and latest not in live:
            live.append(latest)
        return live[-MOST_BLOCKS:]

    @property
    def is_over(self) -> bool:
        shown = self._shown()
        return bool(shown) and all(campaign.is_over for campaign in shown)

    def summaries(self) -> list[dict[str, Any]]:
        found = [campaign.summary() for campaign in self._shown()]
        for summary in found:
            summary["trouble"] = self.trouble
        return found


def _display(plain: bool | None, file: TextIO) -> _Display:
    notebook = _in_notebook()
    if plain is None:
        plain = not notebook and (not file.isatty() or os.environ.get("TERM") in ("dumb", None, "unknown"))
        if not plain:
            try:
                import rich  # noqa: F401
            except ImportError:
                plain = True
    if plain:
        return _Lines(file)
    return _Notebook() if notebook else _Blocks(file)


class _Lines:
    """A line for each search, now and then."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._due = 0.0
        self._told: set[tuple[str, str]] = set()

    def show(self, summaries: list[dict[str, Any]], *, last: bool) -> None:
        new = [[one for one in summary["failure_examples"] if self._is_new(summary, one)] for summary in summaries]
        if last or monotonic() >= self._due or any(new):  # a failure of a new sort is told at once
            self._due = monotonic() + LINES_EVERY
            for summary, examples in zip(summaries, new, strict=True):
                failures = [f"; job {one['job_id']}: {example_of(one)}" for one in examples]
                self._file.write(line_of(summary) + "".join(failures) + "\n")
            self._file.flush()

    def _is_new(self, summary: dict[str, Any], example: dict[str, Any]) -> bool:
        key = summary["search_id"], example["objective"]
        is_new = key not in self._told
        self._told.add(key)
        return is_new

    def close(self) -> None:
        """Nothing is held."""


class _Blocks:
    """Blocks that are redrawn in their place."""

    def __init__(self, file: TextIO) -> None:
        # Redrawn by us alone, when there is something new: rich's own thread would do it whether or not.
        from rich.live import Live

        from evalpool.cli._blocks import console

        # What this process prints goes above the block; into a file, if it goes into one.
        on_terminal = sys.stdout.isatty()
        self._live = Live(console=console(file), auto_refresh=False, transient=False, redirect_stdout=on_terminal)
        self._live.start()
        # So does what workers print, who write to the descriptor.
        self._prints = Captured(self._print) if on_terminal and is_ours() and self._live.console.is_terminal else None

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
        """The cell keeps what was shown last."""


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
