"""Computes the rows of the view `jobs`: each is the fold of its job's events, which is kept between commits.

A job has about four events, and at each of them its row is computed from all of its events. Reading the earlier events
from the file would cost more than writing the new one. So the folds of the jobs that were written last are kept. They
are valid as long as no other client writes: the last event of the file is then the one that this client wrote last.

Of a waiting job only the creation is known, so little is kept of it, since many jobs may wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evalpool.storage._columns import Columns
from evalpool.storage._events import Event
from evalpool.storage._fold import JobState
from evalpool.storage._folded import Cursor

__all__ = ["JobRow", "KnownRows"]

Key = tuple[str, int]
"""The id of a search, and the number of a job in it."""

MOST = 20_000
"""The most jobs whose folds are kept; each takes a few hundred bytes beside the data of its events. Gathered jobs are
not kept, as they hardly ever have further events."""

MOST_WAITING = 200_000
"""The most waiting jobs of which the creation is kept; each takes two hundred bytes."""


class JobRow:
    """The fold of the events of one job, and the numbers of the events that the columns refer to."""

    __slots__ = ("created", "finished", "given", "job", "key", "num_events", "stored")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.job = JobState(key[1])
        self.created: int | None = None
        self.given: int | None = None
        self.finished: int | None = None
        self.stored: int | None = None
        self.num_events = 0

    @classmethod
    def of_created(cls, key: Key, number: int, owner: str | None) -> JobRow:
        """Return the row of a job that has only one event: its ``created``, with this number."""
        row = cls(key)
        row.add(number, "created", {"owner": owner})
        return row

    def is_waiting(self) -> bool:
        """Whether ``created`` is the only event of the job."""
        return self.num_events == 1 and self.created is not None

    def add(self, number: int, kind: str, data: dict[str, Any]) -> None:
        """Fold the job's next event, which has this number in the file."""
        self.num_events += 1
        job = self.job
        job.apply(kind, data)
        if job.created is data:
            self.created = number
        elif job.by_hand is data:
            self.given = number
        elif job.out is data:
            self.stored = number
        if self.finished is None and job.result is not None:
            self.finished = number  # the first end counts; later ones only add facts

    def columns(self) -> tuple[Any, ...]:
        """Return the values for the columns of the table `job_rows`."""
        job = self.job
        gathered = (job.gathered or job.result or {}).get("timestamp_gather")
        attempts = job.attempt if job.begun else job.attempt - 1
        return (
            *self.key, job.status.name, attempts, job.owner, self.created, self.given, self.finished, self.stored,
            gathered,
        )  # fmt: skip


class KnownRows:
    """Keeps the rows of the jobs that were written last. One thread at a time.

    Args:
        earlier: reads the events of a job from the file, with their numbers, up to the last one before a commit.
    """

    def __init__(self, earlier: Callable[[Any, Key, int], Iterable[tuple[int, Event]]]) -> None:
        self._earlier = earlier
        self._rows: dict[Key, JobRow] = {}
        self._waiting: dict[Key, tuple[int, str | None]] = {}  # the number of its ``created``, and its owner
        self._at: Cursor | None = None  # the last event of the file after our last commit

    def clear(self) -> None:
        """Forget all rows: a commit failed, or this is another process."""
        self._rows.clear()
        self._waiting.clear()
        self._at = None

    def begin(self, at: Cursor) -> None:
        """Begin a commit when `at` is the last event of the file; forget all rows if another client has written."""
        if self._at != at:
            self.clear()

    def add(self, db: Any, events: Columns, last: int) -> Iterable[JobRow]:
        """Fold the events of a commit, whose numbers follow `last`. Return the rows that they change, each once."""
        changed: dict[Key, JobRow] = {}
        rows = self._rows
        columns = zip(events.search_ids, events.numbers, events.kinds, events.data, strict=True)
        for event, (search_id, number, kind, data) in enumerate(columns, last + 1):
            if number is None:
                continue
            key = search_id, number
            row = changed.get(key)
            if row is None:
                row = rows.get(key)
                if row is None:
                    if (created := self._waiting.pop(key, None)) is not None:
                        row = JobRow.of_created(key, *created)
                    else:
                        row = JobRow(key)
                        if kind != "created":
                            for before, known in self._earlier(db, key, last):
                                row.add(before, known.kind, known.data)
                    rows[key] = row
                changed[key] = row
            row.add(event, kind, data)
        return changed.values()

    def end(self, changed: Iterable[JobRow], at: Cursor) -> None:
        """End a commit that succeeded; `at` is its last event."""
        rows, waiting = self._rows, self._waiting
        for row in changed:
            if row.job.gathered is not None:
                rows.pop(row.key, None)
            elif row.created is not None and row.is_waiting():
                rows.pop(row.key, None)
                waiting[row.key] = row.created, row.job.owner
        for kept, most in ((rows, MOST), (waiting, MOST_WAITING)):
            while len(kept) > most:
                del kept[next(iter(kept))]
        self._at = at
