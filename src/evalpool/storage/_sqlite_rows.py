"""The rows of the view `jobs`: each is the fold of its job's events, kept from one commit to the next.

A job is written to about four times, and each time its row is what all of its events add up to. To ask the file for
those before costs more than to write the new one; so the folds of the jobs that were written last stay here. They
hold as long as nobody else writes: then the last event of the file is the one that this client wrote last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evalpool.storage._events import Event
from evalpool.storage._fold import JobState

__all__ = ["JobRow", "KnownRows"]

Key = tuple[str, int]
"""A search, and the number of a job in it."""

MOST = 5_000
"""Jobs whose folds are kept, of a few hundred bytes each beside what their events hold. Those that were gathered are
not: hardly any event comes behind that."""


class JobRow:
    """What the events of one job add up to, and which of them the columns point to."""

    __slots__ = ("created", "finished", "given", "job", "key", "stored")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.job = JobState(key[1])
        self.created: int | None = None
        self.given: int | None = None
        self.finished: int | None = None
        self.stored: int | None = None

    def add(self, number: int, event: Event) -> None:
        """The job's next event, and its number in the file."""
        job, data = self.job, event.data
        job.apply(event)
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
        self._at: tuple[int, int] | None = None  # the last event of the file, and which state of it, as we left it

    def clear(self) -> None:
        """Nothing is known: a commit failed, or this is another process."""
        self._rows.clear()
        self._at = None

    def begin(self, last: int, state: int) -> None:
        """A commit begins where `last` is the number of the file's last event."""
        if self._at != (last, state):
            self._rows.clear()

    def add(self, db: Any, events: list[tuple[int, Event]], last: int) -> Iterable[JobRow]:
        """Fold the events of a commit, with their numbers; returns the rows that they change, each once."""
        changed: dict[Key, JobRow] = {}
        rows = self._rows
        for number, event in events:
            if event.number is None:
                continue
            key = event.search_id, event.number
            row = changed.get(key)
            if row is None:
                row = rows.get(key)
                if row is None:
                    row = rows[key] = JobRow(key)
                    if event.kind != "created":
                        for before, known in self._earlier(db, key, last):
                            row.add(before, known)
                changed[key] = row
            row.add(number, event)
        return changed.values()

    def end(self, changed: Iterable[JobRow], last: int, state: int) -> None:
        """The commit is done, and `last` is the number of its last event."""
        rows = self._rows
        for row in changed:
            if row.job.gathered is not None:
                rows.pop(row.key, None)
        while len(rows) > MOST:
            del rows[next(iter(rows))]
        self._at = last, state
