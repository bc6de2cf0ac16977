"""The rows of the view `jobs`: each is the fold of its job's events, kept from one commit to the next.

A job is written to about four times, and each time its row is what all of its events add up to. To ask the file for
those before costs more than to write the new one; so the folds of the jobs that were written last stay here. They
hold as long as nobody else writes: then the last event of the file is the one that this client wrote last.

Of a job that waits nothing is known but that it was created, so little is kept of it; many may wait.
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
"""A search, and the number of a job in it."""

MOST = 20_000
"""Jobs whose folds are kept, of a few hundred bytes each beside what their events hold. Those that were gathered are
not: hardly any event comes behind that."""

MOST_WAITING = 200_000
"""Jobs of which it is kept that they were created, in two hundred bytes each."""


class JobRow:
    """What the events of one job add up to, and which of them the columns point to."""

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
        """Of a job of which nothing happened but its ``created`` of that number."""
        row = cls(key)
        row.add(number, "created", {"owner": owner})
        return row

    def is_waiting(self) -> bool:
        """Whether nothing happened but its ``created``."""
        return self.num_events == 1 and self.created is not None

    def add(self, number: int, kind: str, data: dict[str, Any]) -> None:
        """The job's next event, and its number in the file."""
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
            self.finished = number  # the end that counts; later ones only add to it

    def columns(self) -> tuple[Any, ...]:
        """Of the table `job_rows`."""
        job = self.job
        gathered = (job.gathered or job.result or {}).get("timestamp_gather")
        attempts = job.attempt if job.begun else job.attempt - 1
        return (
            *self.key, job.status.name, attempts, job.owner, self.created, self.given, self.finished, self.stored,
            gathered,
        )  # fmt: skip


class KnownRows:
    """The rows of jobs that were written last. By one thread at a time.

    Args:
        earlier: reads the events of a job from the file, with their numbers, up to the last one before a commit.
    """

    def __init__(self, earlier: Callable[[Any, Key, int], Iterable[tuple[int, Event]]]) -> None:
        self._earlier = earlier
        self._rows: dict[Key, JobRow] = {}
        self._waiting: dict[Key, tuple[int, str | None]] = {}  # the number of its ``created``, and its owner
        self._at: Cursor | None = None  # the last event of the file, as we left it

    def clear(self) -> None:
        """Nothing is known: a commit failed, or this is another process."""
        self._rows.clear()
        self._waiting.clear()
        self._at = None

    def begin(self, at: Cursor) -> None:
        """A commit begins where `at` is the last event of the file."""
        if self._at != at:
            self.clear()

    def add(self, db: Any, events: Columns, last: int) -> Iterable[JobRow]:
        """Fold the events of a commit, which stand behind `last`; returns the rows that they change, each once."""
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
        """The commit is done, and `at` is its last event."""
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
