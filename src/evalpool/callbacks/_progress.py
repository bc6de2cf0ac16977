"""A progress bar: in a terminal, in a notebook, or as lines in a log."""

from __future__ import annotations

import math
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, TextIO

from evalpool._clock import monotonic
from evalpool.callbacks._base import Callback
from evalpool.callbacks._incumbent import Incumbent, is_evaluation

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["TqdmCallback"]

INTERVAL = 0.1
"""Seconds between two updates of the bar: as often as one can see, and not at each job."""
LOG_INTERVAL = 5.0
"""Seconds between two lines if the bar cannot be redrawn; each tenth of the whole has a line, too."""
NARROW = ("{l_bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]", "{l_bar} {n_fmt}/{total_fmt}{postfix}")
"""The formats for a terminal that is too narrow for the bar and the rate: a line with a description fits 60 columns."""


class TqdmCallback(Callback):
    """Shows how many jobs are done, the best objective and the failures.

    `optimize` tells the callback how many evaluations there will be. In a loop of your own call `set_max_evals`;
    otherwise the bar counts without a total. Cancelled jobs do not count.

    Args:
        description: text before the bar.
        disable: True: the bar is never shown. None: it is shown if stderr is a terminal, or in a notebook. False: it is
            always shown; in a file or pipe as a line every few seconds.
    """

    def __init__(self, description: str | None = None, disable: bool | None = None) -> None:
        self._description = description
        self._disable = disable
        self._total: int | None = None
        self._incumbent = Incumbent()
        self._bar: Any = None
        self._hidden = False
        self._in_lines = False
        self._lined = 0
        self._shown = 0.0

    def set_max_evals(self, max_evals: int | None) -> None:
        """Set how many evaluations there will be; None: unknown."""
        self._total = None if max_evals is None or max_evals < 1 else max_evals
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()

    def on_launch(self, job: Job[Any]) -> None:
        if self._bar is None and not self._hidden:
            self._open()

    def on_done(self, job: Job[Any]) -> None:
        if not is_evaluation(job):
            return
        self._incumbent.take(job)
        if self._bar is None and not self._hidden:
            self._open()
        if self._bar is None:
            return
        now, done = monotonic(), self._incumbent.evaluations
        milestone = self._total is not None and done % max(1, self._total // 10) == 0
        if now - self._shown >= INTERVAL or milestone or done == self._total:
            self._shown = now
            self._update_text()
        self._bar.update(1)
        if milestone and self._in_lines:
            self._lined = done
            self._bar.refresh()

    def on_done_other(self, job: Job[Any]) -> None:
        self.on_done(job)

    def on_close(self) -> None:
        if self._bar is not None:
            self._update_text()
            if self._in_lines and self._lined != self._incumbent.evaluations:
                self._bar.refresh()
            self._bar.close()
            self._bar = None
        self._hidden = True

    def _update_text(self) -> None:
        facts = self._incumbent.summary()
        if self._incumbent.failures:
            facts["failures"] = str(self._incumbent.failures)
        self._bar.set_postfix(facts, refresh=False)

    def _open(self) -> None:
        bar, in_notebook = _bar_class()
        options: dict[str, Any] = {"total": self._total, "desc": self._description, "unit": "job"}
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._hidden = bool(self._disable) or (self._disable is None and not terminal and not in_notebook)
        self._hidden |= sys.stderr is None and not in_notebook
        if self._hidden:
            return
        if terminal or in_notebook:
            options.update(mininterval=INTERVAL, dynamic_ncols=True)
        else:
            self._in_lines = True
            options.update(mininterval=LOG_INTERVAL, leave=False, file=_LinePerState(sys.stderr), ncols=100)
        self._bar = bar(miniters=1, **options)


class _LinePerState:
    """A file that gets each state of the bar as a line of its own."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last = ""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text and text != self._last:
            self._file.write(text + "\n")
            self._last = text

    def flush(self) -> None:
        self._file.flush()


def _bar_class() -> tuple[type[Any], bool]:
    """The class of tqdm for a terminal or a notebook, and whether it is a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the choice is experimental, and that ipywidgets is missing
        from tqdm.autonotebook import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        def __str__(self) -> str:
            # tqdm cuts a line that is too long at its end, where the best and the failures are.
            facts = self.format_dict
            width = facts["ncols"] or math.inf
            for form in (facts["bar_format"], *(NARROW if facts["total"] else ())):
                facts["bar_format"] = form
                if len(self.format_meter(**{**facts, "ncols": None})) <= width:
                    break
            return str(self.format_meter(**facts))

        # tqdm's own lock is a semaphore for processes and its monitor a thread that outlives the bar; a bar
        # that one thread draws needs neither.
        _lock = threading.RLock()
        monitor_interval = 0

    return Bar, tqdm.__module__ != "tqdm.std"
