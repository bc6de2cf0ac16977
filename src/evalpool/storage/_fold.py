"""Computes the state of all searches: the fold of their events, in order.

The rules:

- Other events of a job may be read before its ``created`` (two writers of a journal are read in any order). The job is
  listed once ``created`` was read.
- The attempt that counts is the one with the largest number that was started or queued again. Reports of earlier
  attempts are ignored. Once a job is final, all events but ``gathered``, ``metadata`` and ``out`` are ignored.
- An event that is read twice changes nothing the second time. (``recorded`` is the exception: two equal
  measurements are two measurements.)
- If events have a position (`Event.at`), an event that is read late is inserted at its position: the events of that
  job are folded again. So all readers of a store get the same state, whatever the order in which they read.

The fold keeps references to the data of events and copies nothing. Code that returns parts of a state to callers copies
them.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from evalpool._log import get_logger
from evalpool.errors import NewerSchema
from evalpool.outcomes import FINAL, JobStatus
from evalpool.storage._events import SCHEMA_VERSION, Event

__all__ = ["JobState", "SearchState", "State", "fold"]

_log = get_logger("evalpool.storage")

_STATUS = {status.name: status for status in JobStatus} | {status: status for status in JobStatus}
_RANK = {status: rank for rank, status in enumerate((JobStatus.READY, JobStatus.RUNNING, JobStatus.CANCELLING))}
_BY_PLACE = attrgetter("at")

Place: TypeAlias = tuple[int, str, int]
"""See `Event.at`."""


def as_status(value: Any) -> JobStatus:
    """Return the `JobStatus` that `value` is or names. Raises `KeyError`."""
    return _STATUS[value]


class JobState:
    """The state of one job that results from the events read so far. `number` is its number in its search."""

    __slots__ = (
        "attempt",
        "begun",
        "by_hand",
        "created",
        "gathered",
        "losses",
        "metadata",
        "number",
        "out",
        "owner",
        "places",
        "recorded",
        "result",
        "started",
        "status",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = JobStatus.READY
        self.attempt = 1  # the number of the attempt that counts: it runs, or is the next to run
        self.begun = False  # whether this attempt began
        self.created: dict[str, Any] | None = None
        self.by_hand: dict[str, Any] | None = None  # of `in`
        self.owner: str | None = None
        self.started: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None  # of `finished`
        self.out: dict[str, Any] | None = None
        self.gathered: dict[str, Any] | None = None
        self.metadata: dict[str, Any] | None = None
        self.recorded: list[dict[str, Any]] | None = None
        self.losses: list[dict[str, Any] | None] | None = (
            None  # `started` of each attempt that was claimed from its owner
        )
        # If events have positions: position, kind and data of each event of the job, in order. The list is flat, since
        # the garbage collector examines each tuple that is kept again and again.
        self.places: list[Any] | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def apply(self, kind: str, data: dict[str, Any]) -> None:
        """Fold the next event, of this kind and with this data."""
        _JOB_RULES[kind](self, data)

    def _on_created(self, data: dict[str, Any]) -> None:
        if self.created is None:
            self.created = data
            if self.owner is None:
                self.owner = data.get("owner")

    def _on_in(self, data: dict[str, Any]) -> None:
        self.by_hand = data

    def _on_started(self, data: dict[str, Any]) -> None:
        attempt = data.get("attempt") or self.attempt
        if self.is_final or attempt < self.attempt or self._is_of_another(data):
            return
        if attempt > self.attempt:
            self.recorded = None  # measurements of an attempt that is over
        if attempt > self.attempt or not self.begun:
            self.attempt, self.begun, self.started = attempt, True, data
            if self.status is JobStatus.READY:
                self.status = JobStatus.RUNNING

    def _on_queued(self, data: dict[str, Any]) -> None:
        if self.is_final or data["attempt"] <= self.attempt:
            return
        owner = data.get("owner", self.owner)
        if owner != self.owner:  # a job that is suspended stays its owner's until it is claimed
            self.losses = [*(self.losses or ()), (self.started or {"attempt": self.attempt}) if self.begun else None]
        self.attempt, self.begun, self.started = data["attempt"], False, None
        self.owner = owner
        self.recorded = None  # measurements of an attempt that never ended
        self.status = JobStatus.READY

    def _on_recorded(self, data: dict[str, Any]) -> None:
        attempt = data.get("attempt", self.attempt)
        if attempt < self.attempt or self._is_of_another(data):
            return
        if attempt > self.attempt:  # not every storage is told of starts
            self.attempt, self.begun, self.started, self.recorded = attempt, False, None, None
        if self.recorded is None:
            self.recorded = []
        self.recorded.append(data)

    def _on_finished(self, data: dict[str, Any]) -> None:
        attempts = data.get("attempts")
        ended = data.get("attempt") or (self.attempt if attempts is None else max(attempts, 1))
        is_final = self.is_final
        if is_final and self.result is not None:
            # The same end is reported again, with more facts. The late end of a lost attempt is ignored.
            if data.keys() - self.result.keys() and ended >= self.attempt and not self._is_of_another(data):
                self.result = {**data, **self.result}
            return
        # The owner may end a job that was queued again and did not begin; then it has counted one attempt less.
        if self._is_of_another(data) or (ended < self.attempt and "owner" not in data):
            return
        self.attempt = max(self.attempt, ended)
        self.begun = self.begun or attempts != 0
        self.result = data
        if not is_final:
            self.status = as_status(data.get("status", JobStatus.DONE))

    def _is_of_another(self, data: dict[str, Any]) -> bool:
        """Whether another owner than the job's reported this.

        An owner that retries a job and an owner that claims it as lost may count the same attempt, so only the name of
        the owner shows whose report it is.
        """
        owner = data.get("owner")
        return owner is not None and self.owner is not None and owner != self.owner

    def _on_gathered(self, data: dict[str, Any]) -> None:
        self.gathered = data

    def _on_out(self, data: dict[str, Any]) -> None:
        self.out = data

    def _on_status(self, data: dict[str, Any]) -> None:
        status = as_status(data["status"])
        if self.is_final or (status not in FINAL and _RANK[status] <= _RANK[self.status]):
            return
        self.status = status
        self.begun = self.begun or status is JobStatus.RUNNING

    def _on_metadata(self, data: dict[str, Any]) -> None:
        if self.metadata is None:
            self.metadata = dict(data)
        else:
            self.metadata.update(data)


_JOB_RULES = {
    "created": JobState._on_created,
    "in": JobState._on_in,
    "started": JobState._on_started,
    "queued": JobState._on_queued,
    "recorded": JobState._on_recorded,
    "finished": JobState._on_finished,
    "gathered": JobState._on_gathered,
    "out": JobState._on_out,
    "status": JobState._on_status,
    "metadata": JobState._on_metadata,
}


class SearchState:
    """The state of one search that results from the events read so far.

    Attributes:
        start: when it began, in seconds since the epoch; None until its event ``search`` was read.
        jobs: the jobs by number. Jobs whose ``created`` was not read yet are included.
        num_created: how many of them have been created.
        unfinished: the numbers of created jobs that are not final.
        finished: the numbers of jobs in the order in which they ended, each once.
        next_number: one more than the largest number that was read.
        leases: for each owner, when its lease expires, in seconds since the epoch.
        schema: the largest schema of all programs that have worked on the search.
        claims: how many ``queued`` were read; it grows with each job that changes its owner.
    """

    __slots__ = (
        "claims", "finished", "jobs", "leases", "listed", "next_number", "num_created", "schema", "start",
        "unfinished", "value_places", "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start: float | None = None
        self.schema = 1
        self.values: dict[str, Any] = {}
        self.value_places: dict[str, Place] = {}
        self.jobs: dict[int, JobState] = {}
        self.unfinished: dict[int, None] = {}
        self.finished: list[int] = []
        self.listed: set[int] = set()  # the numbers in `finished` of jobs that later turned out not to be final
        self.leases: dict[str, float] = {}
        self.next_number = 0
        self.num_created = 0
        self.claims = 0

    def apply_job(self, kind: str, number: int, data: dict[str, Any], at: Place | None) -> None:
        job = self.jobs.get(number)
        if job is None:
            job = self.jobs[number] = JobState(number)
            if number >= self.next_number:
                self.next_number = number + 1
        was_final = job.status in FINAL
        if kind == "created" and job.created is None:
            self.num_created += 1
        if at is None:
            _JOB_RULES[kind](job, data)
        else:
            places = job.places
            if places is None:
                places = job.places = []
            if places and places[-3] >= at:
                job = self._put_in_place(job, kind, data, at)
            else:
                places += at, kind, data
                _JOB_RULES[kind](job, data)
        if kind == "queued":
            self.claims += 1
        if job.status in FINAL:
            if not was_final:
                self.unfinished.pop(number, None)
                if number not in self.listed:
                    self.finished.append(number)
        elif was_final:
            self.listed.add(number)
            if job.created is not None:
                self.unfinished[number] = None
        elif kind == "created":
            self.unfinished[number] = None

    def _put_in_place(self, job: JobState, kind: str, data: dict[str, Any], at: Place) -> JobState:
        """Insert an event that is read late, and fold the job's events again; ignore an event that was read before."""
        places = job.places
        assert places is not None
        earlier = places[::3]
        if at in earlier:
            return job
        where = 3 * bisect(earlier, at)
        places[where:where] = at, kind, data
        again = JobState(job.number)
        again.places = places
        for known in range(0, len(places), 3):
            again.apply(places[known + 1], places[known + 2])
        self.jobs[job.number] = again
        return again

    def apply_search(self, kind: str, data: dict[str, Any], at: Place | None) -> None:
        if kind == "search":
            if self.start is None:
                self.start = data["start"]
            self.schema = max(self.schema, data.get("schema", 1))
        elif kind == "value":
            for key, value in data.items():
                if at is not None:
                    if at < self.value_places.get(key, at):
                        continue
                    self.value_places[key] = at
                self.values[key] = value
        else:
            owner = data["owner"]
            self.leases[owner] = data["expires"]


def _check_schema(found: int, what: str) -> None:
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"{what} was written by a later evalpool: schema {found}, and this one knows {SCHEMA_VERSION}. "
            "Upgrade evalpool to read it."
        )


class State:
    """The state of all searches of a storage. `apply` folds further events, all or none. One thread at a time."""

    __slots__ = ("searches",)

    def __init__(self) -> None:
        self.searches: dict[str, SearchState] = {}

    def has_job(self, search_id: str, number: int) -> bool:
        """Whether the ``created`` of this job was read."""
        search = self.searches.get(search_id)
        job = None if search is None else search.jobs.get(number)
        return job is not None and job.created is not None

    def apply(self, events: Iterable[Event]) -> None:
        events = list(events)
        for event in events:  # checked before anything is changed
            if event.kind == "search":
                _check_schema(event.data.get("schema", 1), f"search {event.search_id}")
        self._apply(events)

    def apply_with_own(self, own: Sequence[Any], events: list[Event]) -> None:
        """Fold, as `apply`, the events that this client wrote, given as their fields, and those read after them."""
        if events and own and events[0].at is not None:
            width = len(Event._fields)
            mine = [Event(*own[start : start + width]) for start in range(0, len(own), width)]
            events = sorted(mine + events, key=_BY_PLACE)
        elif own:
            fields = iter(own)
            self._apply(zip(fields, fields, fields, fields, fields, strict=True))
        if events:
            self.apply(events)

    def _apply(self, events: Iterable[tuple[str, str, int | None, dict[str, Any], Place | None]]) -> None:
        searches = self.searches
        for kind, search_id, number, data, at in events:
            search = searches.get(search_id)
            if search is None:
                search = searches[search_id] = SearchState()
            if number is None:
                search.apply_search(kind, data, at)
            else:
                search.apply_job(kind, number, data, at)


def fold(events: Iterable[Event]) -> State:
    """Return the state that results from these events."""
    state = State()
    state.apply(events)
    return state
