"""The state of the searches of a storage, kept up to date from its log.

::

    storage.read(cursor) ──► State.apply ──► numbers of the jobs that changed ──► Campaign.update

A look costs what is new. Everything that is shown (status, watch, the live view, the page) comes from here.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._clock import unix_time
from evalpool._text import LONGEST_LINE, printable
from evalpool.callbacks._incumbent import Incumbent, is_evaluation
from evalpool.cli._words import shortened
from evalpool.errors import StorageError, UnknownJob
from evalpool.jobs._utilisation import lane_of
from evalpool.outcomes import FailureKind, JobStatus, last_line, place_of
from evalpool.storage._base import Storage
from evalpool.storage._events import LARGEST
from evalpool.storage._fold import JobState, SearchState, State
from evalpool.storage._leases import GIVEN_UP, owner_lives
from evalpool.storage._records import MINIMIZE, job_objective, job_options, job_record

if TYPE_CHECKING:
    from evalpool.cli._stores import Awaited
    from evalpool.models import JobRecord
    from evalpool.storage import Cursor

__all__ = ["Campaign", "Ended", "Watcher", "tags_of", "without_collector"]

WINDOW = 60.0
"""The present speed is an average over this many seconds ..."""
LEAST = 10
"""... or over this many evaluations, if these took longer."""
LONGEST_NAME = 100
"""Characters of the name of a worker, or of a kind of failure."""
OVER = frozenset({"ended", "suspended", "abandoned"})
"""States in which no program works on a search any more."""
MOST_TEXTS = 1000
"""The most failures with different texts that are counted separately."""
MOST_KINDS = 20
"""Kinds of failures that are shown; evalpool itself knows fewer."""
MOST_TAGS = 20
"""Tags of a job that are shown beside it."""
MOST_EXAMPLES = 5
"""Failures that are shown: the most frequent ones, each with its first job."""


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Let the garbage collector rest. It counts new objects, and would examine all kept ones again and again.

    A first look at 100 000 jobs took 4.2 s with it and 2.4 s without. After the look, it examines all of them three
    times, 0.2 s for 200 000 jobs; a command that ends soon need not wait for that.
    """
    collects = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if collects:
            gc.enable()


class Ended(NamedTuple):
    """A job that ended, with those attributes of a `Job` that `Incumbent` uses."""

    search_id: str
    number: int
    status: JobStatus
    objective: Any
    kind: str | None
    stopped_early: bool

    @property
    def id(self) -> str:
        return f"{self.search_id}.{self.number}"


class Campaign:
    """One search: counts, best, failures, speed, the job of each worker. One thread at a time.

    Args:
        search_id: of the search.
        search: its state, which others keep up to date.
        tags: only jobs that have all of these count.
    """

    def __init__(self, search_id: str, search: SearchState, tags: Iterable[str] = ()) -> None:
        self.search_id = search_id
        self._search = search
        self._wanted = tuple(tags)
        self._reset()

    def _reset(self) -> None:
        self._known: dict[int, JobStatus] = {}
        self._counts: Counter[JobStatus] = Counter()
        self._incumbent = Incumbent(minimize=self.minimizes)
        self._kinds: Counter[str] = Counter()
        self._texts: Counter[str] = Counter()
        self._examples: dict[str, int] = {}  # text -> the first job that failed so
        self._tags: Counter[str] = Counter()
        self._running: dict[int, JobState] = {}
        self._workers: dict[str, int] = {}  # name -> how many it ended
        self._ends: deque[float] = deque(maxlen=10_000)  # the latest, seconds since the search's start
        self._first_start: float | None = None
        self._last_end = 0.0

    def update(self, numbers: Iterable[int]) -> None:
        """Update the counts for these jobs, which changed; constant cost for each."""
        if self._incumbent.minimize is not self.minimizes:
            self._count_again()  # the direction was recorded after the first jobs
            return
        jobs, wanted, known, counts = self._search.jobs, self._wanted, self._known, self._counts
        for number in numbers:
            job = jobs[number]
            if job.created is None or (wanted and not job_options(job).is_tagged(wanted)):
                continue
            before = known.get(number)
            if before is not None and before in _FINAL and job.status not in _FINAL:
                # Its end is taken back, which only a journal does, and rarely: count all again.
                self._count_again()
                return
            status = job.status
            if before is not status:
                if before is not None:
                    counts[before] -= 1
                elif job.created.get("options"):
                    self._count_tags(job)
                counts[status] += 1
                known[number] = status
            if status in _FINAL:
                self._running.pop(number, None)
                if before not in _FINAL:
                    self._end(job)
            elif status in _RUNS and job.started is not None:
                self._running[number] = job
            else:
                self._running.pop(number, None)

    def _count_again(self) -> None:
        self._reset()
        self.update([n for n, known in self._search.jobs.items() if known.created is not None])

    def _count_tags(self, job: JobState) -> None:
        for tag in job_options(job).tags[:MOST_TEXTS]:
            name = printable(tag, LONGEST_NAME)
            if name in self._tags or len(self._tags) < MOST_TEXTS:
                self._tags[name] += 1

    def _end(self, job: JobState) -> None:
        result = job.result or {}
        end, start, worker = result.get("timestamp_end"), result.get("timestamp_start"), lane(job)
        if end is not None:
            self._ends.append(end)
            if end > self._last_end:
                self._last_end = end
        if start is not None and (self._first_start is None or start < self._first_start):
            self._first_start = start
        if worker is not None:
            self._workers[worker] = self._workers.get(worker, 0) + 1
        ended = ended_of(self.search_id, job)
        looked_at: Any = ended  # as at a `Job`
        evaluated = is_evaluation(looked_at)
        if ended.kind is not None:
            self._kinds[ended.kind] += 1
            text = printable(str(ended.objective), LONGEST_LINE)
            if text in self._texts or len(self._texts) < MOST_TEXTS:
                self._texts[text] += 1
                if evaluated:
                    self._examples.setdefault(text, job.number)
        if evaluated:
            self._incumbent.take(looked_at)

    # -- what is shown ---------------------------------------------------------------------------------

    @property
    def start(self) -> float:
        """When the search began, seconds since the epoch."""
        return self._search.start or 0.0

    @property
    def total(self) -> int | None:
        """How many evaluations there will be, if the search says it; None if only jobs with some tags count.

        There may be more than the last program had in mind: others work on the search, or it was begun with more.
        """
        if self._wanted:
            return None
        total = self._search.values.get("max_evals")
        if not (isinstance(total, int) and 0 <= total <= LARGEST):
            return None
        return max(total, self.evaluated)

    @property
    def minimizes(self) -> bool:
        """Whether smaller objectives are better, as the program that began the search has recorded."""
        return self._search.values.get(MINIMIZE) is True

    @property
    def evaluated(self) -> int:
        """How many jobs were evaluated: they ended, and were not cancelled."""
        return self._incumbent.evaluations

    @property
    def state(self) -> str:
        """``running``; ``waiting``: between jobs; ``ended``.

        Or jobs are unfinished and no program works on them: ``suspended``, left to be resumed; ``abandoned``.
        """
        unfinished = bool(self._search.unfinished)
        if not self._search.leases:  # no evaluator with a lease ever worked on it
            complete = self.total is not None and self.evaluated >= self.total
            return "running" if unfinished else "ended" if complete else "waiting"
        if any(owner_lives(self._search, owner) for owner in self._search.leases):
            return "running" if unfinished else "waiting"
        if not unfinished:
            return "ended"
        owners = {self._search.jobs[number].owner for number in self._search.unfinished}
        gave_up = all(self._search.leases.get(owner or "") == GIVEN_UP for owner in owners)
        return "suspended" if gave_up else "abandoned"

    @property
    def is_over(self) -> bool:
        """Whether no program works on it any more."""
        return self.state in OVER

    def rate(self, now: float) -> float | None:
        """Evaluations per second: the recent ones, or all of them once the search is over. None before there are two.

        Args:
            now: seconds since the search's start.
        """
        if self.is_over:
            span = self._last_end - (self._first_start or 0.0)
            return self.evaluated / span if span > 0 and self.evaluated else None
        ends = self._ends
        while len(ends) > LEAST and ends[0] < now - WINDOW:
            ends.popleft()
        if len(ends) < 2:
            return None
        began = max(ends[0], now - WINDOW) if len(ends) > LEAST else ends[0]
        return len(ends) / max(now - began, 1e-3)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until all known evaluations will be done, at the present speed; None if that is unknown."""
        rate = self.rate(now)
        if rate is None or self.is_over:
            return None
        left = sum(self._counts.values()) - sum(self._counts[status] for status in _FINAL)
        if self.total is not None:
            left = max(left, self.total - self.evaluated)
        return left / rate if left else None

    def summary(self, now: float | None = None) -> dict[str, Any]:
        """Everything that is shown, as JSON. The cost depends on the running jobs, not on those that have ended.

        Args:
            now: seconds since the epoch.
        """
        now = (unix_time() if now is None else now) - self.start
        state = self.state
        incumbent = self._incumbent
        best = None
        if incumbent.best_job is not None:
            best = {
                "job_id": incumbent.best_job,
                "objective": incumbent.best,
                "configuration": shortened(self._configuration(incumbent.best_job)),
            }
        running = [self._running_job(job, now) for _, job in sorted(self._running.items())]
        counts = self._counts
        return {
            "search_id": self.search_id,
            "state": state,
            "started": self.start,
            "elapsed": max(0.0, self._last_end if state in OVER else now),
            "total": self.total,
            "jobs": {
                "all": sum(counts.values()),
                "waiting": counts[JobStatus.READY],
                "running": counts[JobStatus.RUNNING] + counts[JobStatus.CANCELLING],
                "succeeded": self.evaluated - incumbent.failures,
                "failed": incumbent.failures,
                "cancelled": counts[JobStatus.CANCELLED],
            },
            "stopped_early": incumbent.stopped_early,
            "minimize": self.minimizes,
            "evaluated": self.evaluated,
            "best": best,
            "standing": incumbent.summary(),
            "failures": dict(self._kinds.most_common(MOST_KINDS)),
            "failure_texts": dict(self._texts.most_common(MOST_EXAMPLES)),
            "failure_examples": [
                self._example(text) for text, _ in self._texts.most_common(MOST_EXAMPLES) if text in self._examples
            ],
            "rate": self.rate(now),
            "seconds_left": self.seconds_left(now),
            "running": sorted(running, key=lambda job: -(job["seconds"] or 0.0)),
            "workers": dict(sorted(self._workers.items())),
            "tags": dict(self._tags.most_common(MOST_KINDS)),
        }

    def _example(self, text: str) -> dict[str, Any]:
        """The first failure of its sort: which job, the last line of its error, and where in the program."""
        job = self._search.jobs[self._examples[text]]
        error = (job.result or {}).get("error")
        job_id = f"{self.search_id}.{job.number}"
        return {"objective": text, "job_id": job_id, "error": last_line(error), "place": place_of(error)}

    def _running_job(self, job: JobState, now: float) -> dict[str, Any]:
        started = job.started or {}
        since = started.get("start")
        return {
            "job_id": f"{self.search_id}.{job.number}",
            "seconds": None if since is None else max(0.0, now - since),
            "worker": lane(job),
            "attempt": job.attempt,
            "recorded": _last_record(job),
            "tags": tags_of(job),
        }

    def _configuration(self, job_id: str) -> dict[str, Any]:
        return job_record(self.search_id, self._search.jobs[int(job_id.rpartition(".")[2])]).configuration


class Watcher:
    """Follows all searches of a storage. One thread at a time.

    After an interrupt in the middle of a look, the next look reads everything again, and all jobs count as changed.

    Args:
        storage: what to follow.
        tags: only jobs that have all of these count.
        summaries_only: only the summaries of campaigns are wanted. Then the first look is faster; `record` lacks times.

    Attributes:
        campaigns: by search, oldest first.
    """

    def __init__(self, storage: Storage | Awaited, tags: Iterable[str] = (), *, summaries_only: bool = False) -> None:
        self._storage = storage
        self._summaries_only = summaries_only
        self._tags = tuple(tags)
        self._state = State()
        self._cursor: Cursor | None = None
        self._partly_updated = False  # an interrupt left the state partly updated
        self.campaigns: dict[str, Campaign] = {}

    def look(self) -> dict[str, dict[int, None]]:
        """Read what is new; returns the numbers of the jobs that changed, by search. The cost depends on what is new.

        Raises:
            StorageUnavailable: nothing is lost; look again.
        """
        with without_collector():
            return self._take_in()

    def _take_in(self) -> dict[str, dict[int, None]]:
        if self._partly_updated:
            self._state, self._cursor, self.campaigns = State(), None, {}
            self._partly_updated = False
        if self._summaries_only and self._cursor is None and isinstance(self._storage, Storage):
            events, cursor = self._storage.read_without_details()
        else:
            events, cursor = self._storage.read(self._cursor)
        self._partly_updated = True
        try:
            self._state.apply(events)  # all of them or none: what it refuses it will refuse again
        except StorageError:
            self._partly_updated = False
            raise
        self._cursor = cursor
        changed: dict[str, dict[int, None]] = {}
        for kind, search_id, number, _, _ in events:
            numbers = changed.setdefault(search_id, {})
            if number is not None:
                if kind in _ENDS:
                    numbers.pop(number, None)  # jobs stand in the order of their ends, as in many small looks
                numbers[number] = None
        for search_id, numbers in changed.items():
            if search_id not in self.campaigns:
                if self._state.searches[search_id].start is None:
                    continue  # its first event, in another file of a journal, comes later
                self.campaigns[search_id] = Campaign(search_id, self._state.searches[search_id], self._tags)
                earlier = self._state.searches[search_id].jobs.keys() - numbers.keys()
                changed[search_id] = numbers = {**dict.fromkeys(sorted(earlier)), **numbers}
            self.campaigns[search_id].update(numbers)
        self._partly_updated = False
        return changed

    def everything(self) -> dict[str, dict[int, None]]:
        """The numbers of all jobs that were read, by search."""
        return {search_id: dict.fromkeys(self._state.searches[search_id].jobs) for search_id in self.campaigns}

    def search(self, search_id: str) -> SearchState:
        """The state of a search, as far as it was read."""
        return self._state.searches[search_id]

    def record(self, search_id: str, number: int) -> JobRecord:
        """Everything about one job, as far as it was read. Raises `UnknownJob`, with the jobs that exist."""
        search = self._state.searches.get(search_id)
        job = None if search is None else search.jobs.get(number)
        if search is None or job is None or job.created is None:
            created = [n for n, known in search.jobs.items() if known.created is not None] if search is not None else []
            there = f"the search has jobs up to {search_id}.{max(created)}" if created else "the search has no jobs"
            raise UnknownJob(f"no job {search_id}.{number}: {there}.")
        return job_record(search_id, job)

    def latest(self) -> Campaign | None:
        """The newest search, if there is one."""
        ids = Storage._search_ids(self._state)
        return self.campaigns[ids[-1]] if ids else None


def ended_of(search_id: str, job: JobState) -> Ended:
    """The result of a job that ended."""
    result = job.result or {}
    kind = result.get("kind")
    if kind is None and job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        kind = FailureKind.CANCELLED if job.status is JobStatus.CANCELLED else FailureKind.RETURNED
    objective = job_objective(job)
    if kind is None and isinstance(objective, str) and objective.startswith("F"):
        kind = FailureKind.RETURNED
    if kind is not None:
        kind = printable(getattr(kind, "value", kind), LONGEST_NAME)
    early = "stopped_early" in result and result["stopped_early"] is True
    return _new(Ended, (search_id, job.number, job.status, objective, kind, early))


def lane(job: JobState) -> str | None:
    """The worker that runs a job, or ran it; the virtual one where time is simulated."""
    result, virtual = job.result or {}, None
    if metadata := result.get("metadata"):
        virtual = metadata.get("virtual_worker")
        virtual = virtual if isinstance(virtual, int) else None
    worker = result.get("worker")
    if not worker and job.started is not None:
        worker = job.started.get("worker")
    return None if worker is None and virtual is None else _name_of_lane(worker, virtual)


@lru_cache(1000)
def _name_of_lane(worker: str | None, virtual: int | None) -> str | None:
    name = lane_of(worker, virtual)
    return None if name is None else printable(name, LONGEST_NAME)


def tags_of(job: JobState) -> list[str]:
    """Its tags, as they may be shown."""
    return [printable(tag, LONGEST_NAME) for tag in job_options(job).tags[:MOST_TAGS]]


def _last_record(job: JobState) -> list[Any] | None:
    if not job.recorded:
        return None
    data = job.recorded[-1]
    return [shortened(data["budget"]), shortened(data["objective"])]


_new = tuple.__new__  # faster than that of a named tuple, which is written in Python
_FINAL = frozenset({JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED})
_ENDS = frozenset({"finished", "status"})
_RUNS = frozenset({JobStatus.RUNNING, JobStatus.CANCELLING})
