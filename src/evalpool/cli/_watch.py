"""The live view: the progress of the searches of a storage, in a terminal, a log or a notebook.

It follows the storage by a cursor, so the cost of a look depends on what is new. It looks every half a second, because
a storage does not notify other processes. ``run``, ``watch`` and programs of users show the same view.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from evalpool._checks import check_real
from evalpool._guard import guarded_act
from evalpool._log import get_logger
from evalpool.cli._campaign import Campaign, Watcher
from evalpool.cli._display import Display, display_on
from evalpool.cli._stores import Awaited, followed
from evalpool.errors import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

    from evalpool.storage import Storage

__all__ = ["LiveView", "ShownSearches", "show_until_over", "until_over", "watch"]

logger = get_logger()

MOST_BLOCKS = 4
"""Searches that are shown at the same time."""


class LiveView:
    """Shows the progress of a search while the `with` block runs; in a thread of its own.

    With rich (extra ``live``) it is a block per search that is redrawn in its place, in a terminal and in a notebook.
    Without rich, and in a pipe or a dumb terminal, it is a line every half a minute::

        with LiveView(evaluator.storage), evaluator:
            optimize(evaluator, optimizer, max_evals=100)

    Args:
        storage: what to follow; or its URL or path, which may not exist yet.
        search_id: which search; None for those that a program works on, or the latest.
        interval: seconds between two looks.
        plain: True: lines; False: blocks, which need rich; None: what `file` can show.
        file: stderr if None.

    Raises:
        BadArgument: `interval` is not above 0, or `storage` is no storage, or one that keeps nothing or ends with its
            program.
        MissingExtra: blocks were asked for and rich is not installed.
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
        interval = _checked(interval)
        self._opened = ExitStack()
        self._follower = ShownSearches(followed(storage, self._opened), search_id)
        self._interval = interval
        self._display = display_on(plain, sys.stderr if file is None else file)
        self._over = threading.Event()
        self._thread = guarded_act("evalpool-live", "The live view", self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._opened:
            self._thread.join()

    def _work(self) -> None:
        try:
            while not self._over.wait(self._interval):
                if self._follower.look():
                    self._display.show(self._follower.summaries(), last=False)
            self._follower.look()
            self._display.show(self._follower.summaries(), last=True)
        except Exception as error:  # an error in reading or showing must not affect the search
            foreseen = isinstance(error, StorageError)
            logger.warning("The live view ends: %s", error, exc_info=None if foreseen else error)
        finally:
            self._display.close()


def watch(
    storage: Storage | str,
    search_id: str | None = None,
    *,
    interval: float = 0.5,
    plain: bool | None = None,
    file: TextIO | None = None,
) -> None:
    """Show the progress of a search until no program works on it any more.

    The arguments are those of `LiveView`; if `file` is None, it is stdout.

    Raises:
        BadArgument: as `LiveView`.
        StorageUnavailable: the storage is closed, or cannot be read at the first look.
    """
    interval = _checked(interval)
    with ExitStack() as opened:
        follower = ShownSearches(followed(storage, opened), search_id)
        show_until_over(follower, interval, display_on(plain, sys.stdout if file is None else file))


def _checked(interval: float) -> float:
    """The seconds between two looks, as a wait takes them."""
    return min(check_real("interval", interval, above=0), threading.TIMEOUT_MAX)


def show_until_over(follower: ShownSearches, interval: float, display: Display) -> None:
    """Show searches until no program works on them any more, and close the display."""
    with contextlib.closing(display):
        for summaries, last in until_over(follower, interval):
            display.show(summaries, last=last)


def until_over(follower: ShownSearches, interval: float) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    """Yield the summaries at each look, and whether they are the last. Only the first look may raise."""
    pause = threading.Event()
    follower.look()
    if follower.trouble is not None:  # as of a storage that is closed, which would never end
        raise StorageUnavailable(follower.trouble)
    while True:
        over = follower.is_over
        yield follower.summaries(), over
        if over:
            return
        pause.wait(interval)  # never set: nothing tells us that another process wrote
        follower.look()


class ShownSearches:
    """The searches that are shown, and their summaries."""

    def __init__(self, storage: Storage | Awaited, search_id: str | None, tags: Iterable[str] = ()) -> None:
        self._watcher = Watcher(storage, tags)
        self._search_id = search_id
        self.trouble: str | None = None

    def look(self) -> bool:
        """Read what is new; whether there is something to show."""
        try:
            self._watcher.look()
            self.trouble = None
        except StorageUnavailable as error:
            self.trouble = str(error)  # shown; the next look that succeeds reads what was missed
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
