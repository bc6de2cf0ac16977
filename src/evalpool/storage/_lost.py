"""Finds out that a store went back to an earlier state, and which jobs it has lost.

This happens when a server is restored from a snapshot, when a backup is copied over a file, or when a journal is copied
without its links. Such a store gives the numbers of existing jobs again, and the place up to which a client has read it
does not exist anymore. A client notices both:

::

    reserve  gave a number that this client took before, or has read    ──┐
    read     does not find the event that the cursor points to,           │
             or not the job that this client recorded last              ──┴─► read all again, compare with before

The error names the jobs that are lost. The client that had recorded them writes again what it knows about them. A
client that only reads writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from evalpool.errors import StorageUnavailable
from evalpool.storage._events import SCHEMA_VERSION, Event
from evalpool.storage._fold import JobState, State

__all__ = ["CursorLost", "KnownNumbers", "WentBack", "compare"]

_NAMED = 50
"""How many ids an error message names at most. The attribute `lost` of the error has all of them."""


class CursorLost(StorageUnavailable):
    """The event that a cursor points to is no longer in the store. After this error, `FoldedLog._sync` reads all."""


class WentBack(StorageUnavailable):
    """A store has lost records. `lost` has the ids of all jobs whose records are lost."""

    def __init__(self, store: str, lost: list[str], written_again: int) -> None:
        self.lost = lost
        named = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
        again = f" This program will write again what it knows of {written_again} of them." if written_again else ""
        super().__init__(
            f"{store} is in an earlier state (restored from a snapshot or a backup?): it has lost records of jobs: "
            f"{named}.{again} New jobs will not get their numbers. The search can continue."
        )


class KnownNumbers:
    """The numbers of the jobs that a client recorded, by search. They are kept as ranges, as most are consecutive."""

    def __init__(self) -> None:
        self.searches: set[str] = set()  # that the client created
        self.last: dict[str, int] = {}  # by search: the last job whose commit has returned, which a read must find
        self._ranges: dict[str, list[list[int]]] = {}  # each is [its first number, its last number + 1]
        self._next: dict[str, int] = {}

    def add(self, search_id: str, number: int) -> None:
        """Note that this client has recorded the job with this number."""
        ranges = self._ranges.get(search_id)
        if ranges is not None and ranges[-1][1] == number:
            ranges[-1][1] = number + 1
        elif ranges is None:
            self._ranges[search_id] = [[number, number + 1]]
        else:
            ranges.append([number, number + 1])
        self.keep_from(search_id, number + 1)

    def keep_from(self, search_id: str, number: int) -> None:
        """Note that no number smaller than this one may be given again."""
        if number > self._next.get(search_id, 0):
            self._next[search_id] = number

    def next(self, search_id: str) -> int:
        return self._next.get(search_id, 0)

    def by_search(self) -> Iterable[tuple[str, set[int]]]:
        for search_id, ranges in self._ranges.items():
            yield search_id, {number for numbers in ranges for number in range(*numbers)}

    def forget(self, search_id: str, lost: set[int]) -> None:
        """Remove these numbers: they were reported as lost, and are not to be reported again."""
        left = sorted({number for numbers in self._ranges.get(search_id, ()) for number in range(*numbers)} - lost)
        self._ranges.pop(search_id, None)
        for number in left:
            self.add(search_id, number)


class Loss(NamedTuple):
    """What a store has lost: the ids of the jobs, and the events that this client may write again."""

    jobs: list[str]
    again: list[Event]
    written_again: int


def compare(before: State, now: State, own: KnownNumbers) -> Loss:
    """Find the jobs that are in `before`, or were recorded by this client, and are missing or incomplete in `now`.

    The cost grows with the number of jobs in the store.
    """
    taken = dict(own.by_search())
    lost: list[str] = []
    again: list[Event] = []
    written = 0
    for search_id in {**before.searches, **taken}:
        if not search_id:
            continue
        old, new = before.searches.get(search_id), now.searches.get(search_id)
        mine = taken.get(search_id, set())
        known = {} if old is None else {n: job for n, job in old.jobs.items() if job.created is not None}
        there = {} if new is None else new.jobs
        missing = sorted(n for n in known.keys() | mine if _lacks(known.get(n), there.get(n)))
        is_mine = bool(mine) or search_id in own.searches
        if old is not None and old.start is not None and is_mine and (new is None or new.start is None):
            again.append(Event("search", search_id, None, {"start": old.start, "schema": SCHEMA_VERSION}))
            if old.values:
                again.append(Event("value", search_id, None, dict(old.values)))
        for number in missing:
            lost.append(f"{search_id}.{number}")
            if number in mine and number in known:
                again += _events_of(search_id, known[number], there.get(number))
                written += 1
        if old is not None:
            own.keep_from(search_id, old.next_number)
        if missing:
            own.last.pop(search_id, None)
            own.forget(search_id, set(missing) - known.keys())
    return Loss(lost, again, written)


def _lacks(old: JobState | None, new: JobState | None) -> bool:
    if new is None or new.created is None:
        return True
    return old is not None and old.is_final and not new.is_final


def _events_of(search_id: str, job: JobState, there: JobState | None) -> Iterable[Event]:
    """Return events that lead to the state of this job.

    An event that the store already has may be written twice, as it counts once. Measurements would count twice, so
    only those that the store does not have are returned.
    """
    measured = 0 if there is None or there.recorded is None else len(there.recorded)
    parts = [("created", job.created), ("in", job.by_hand)]
    if job.created is not None and job.owner != job.created.get("owner"):
        parts.append(("queued", {"attempt": job.attempt, "owner": job.owner}))
    parts.append(("started", job.started))
    parts += [("recorded", data) for data in (job.recorded or ())[measured:]]
    if job.result is not None:
        parts.append(("finished", job.result))
    elif job.is_final:
        parts.append(("status", {"status": job.status.name}))
    parts += [("out", job.out), ("gathered", job.gathered), ("metadata", job.metadata)]
    return [Event(kind, search_id, job.number, data) for kind, data in parts if data is not None]
