"""An evaluator's parts beside another client of the same search, which claims and finishes jobs when the test says so.

Nothing here has a thread: the engine does nothing by itself, timers are only noted, and `World.turns` is what the
fence's thread would do. The clocks stand still until the test sets them forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from evalpool._clock import monotonic
from evalpool._interrupts import allow_signals, defer_signals
from evalpool.errors import StorageUnavailable
from evalpool.evaluator import _fence, _lease
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._back_off import BackOff
from evalpool.evaluator._core import Core
from evalpool.evaluator._fence import Fence
from evalpool.evaluator._job_events import JobEvents
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._open_search import OpenSearch
from evalpool.evaluator._recorder import recorder_for
from evalpool.evaluator._stop_control import StopControl
from evalpool.evaluator._timeline import RealTime
from evalpool.jobs._job import Job
from evalpool.outcomes import JobStatus, Outcome
from evalpool.storage import Event, MemoryStorage, _leases
from evalpool.storage._leases import claim_lost


class Clock:
    """The clocks that leases go by: the epoch's, and our own, which also runs while the machine is suspended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unix, self.awake = 1e9, 500.0
        for module in (_fence, _lease, _leases):
            monkeypatch.setattr(module, "unix_time", lambda: self.unix)
        monkeypatch.setattr(_fence, "awake_or_not", lambda: self.awake)

    def forward(self, seconds: float) -> None:
        self.unix += seconds
        self.awake += seconds


class Store(MemoryStorage):
    """A durable storage.

    Attributes:
        away: whether it cannot be reached; then what it is given to write later is lost.
        flushes: how often it was asked to write all.
        raises_at_flush: what `flush` raises.
    """

    durable = True
    away = False
    flushes = 0
    raises_at_flush: BaseException | None = None

    def append(self, events: Sequence[Event]) -> None:
        if self.away:
            raise StorageUnavailable("it is away")
        super().append(events)

    def append_soon(self, events: Sequence[Event]) -> None:
        if not self.away:
            super().append(events)

    def read(self, after: Any) -> Any:
        if self.away:
            raise StorageUnavailable("it is away")
        return super().read(after)

    def flush(self) -> None:
        self.flushes += 1
        if self.raises_at_flush is not None:
            raise self.raises_at_flush


class Engine:
    """Notes what it is handed and asked to stop."""

    workers_are = "processes"

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.asked: list[int] = []

    def run(self, attempts: list[Attempt]) -> None:
        self.attempts += attempts

    def ask_to_stop(self, attempt: Attempt) -> None:
        self.asked.append(attempt.job.number)


class TurnedFence(Fence):
    """A fence whose thread is the test."""

    _pause = 0.0
    is_needed = False

    def _start(self) -> None:
        self.is_needed = not self._closed


class User:
    """Whose end closes a storage that was given by its URL."""


class World:
    """The parts of an evaluator that continues, or begins, a search, and what another client does there."""

    seed = 3

    def __init__(
        self,
        clock: Clock,
        storage: Store | None = None,
        search_id: str | None = None,
        *,
        slots: int = 1,
        isolated: bool = False,
        may_await: bool = True,
    ) -> None:
        self.clock, self.storage = clock, Store() if storage is None else storage
        self.search = OpenSearch(
            self.storage, search_id, job_type="hpo", seed=3, seed_given=True, check=lambda storage: None, user=User()
        )
        self.engine = Engine()
        self.core = core = Core(JobLedger(slots), self.engine, name="Evaluator")
        core.stops = StopControl(
            core, self.engine, lambda *timer: None, name="Evaluator", origin=0.0, may_suspend=False
        )
        core.started = True
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self._times = self.times = RealTime(self.search.origin, lambda extra: {})
        back_off = self.back_off = BackOff()
        self.fence = TurnedFence(
            self.search, core, lambda *timer: self.timers.append(timer), back_off=back_off,  # type: ignore[arg-type]
            may_await=may_await, is_isolated=lambda: isolated,
        )  # fmt: skip
        events = JobEvents(self.search, self.times)
        recorder = self.recorder = self.fence.recorder = recorder_for(
            self.search, events, back_off, self.fence, core.held
        )
        core.unrecorded, core.record, core.leave = recorder.unrecorded, recorder.outcomes, self.fence.leave

    # What this evaluator does.

    def submit(self, count: int) -> list[Job[Any]]:
        self.fence.take()
        first = self.search.storage.reserve(self.search.search_id, count)
        jobs: list[Job[Any]] = [
            Job(self, self.core.inbox, self.search.search_id, first + number, {"x": number}, "hpo", 0.5)  # type: ignore[arg-type]
            for number in range(count)
        ]
        self.recorder.created(jobs)
        self.core.accept(jobs, self.core.inbox)
        return jobs

    def report(self, outcome: Outcome | None = None) -> None:
        """The job that was handed over last ends."""
        self.core.report([(self.engine.attempts[-1], outcome or Outcome(JobStatus.DONE, 1.0))])

    def report_job(self, number: int, after: float = 0.0) -> None:
        """The job of this number ends, `after` seconds from now; its objective is ten more than its number."""
        attempt = next(each for each in reversed(self.engine.attempts) if each.job.number == number)
        now = monotonic()
        self.core.report([(attempt, Outcome(JobStatus.DONE, 10.0 + number, start=now, end=now + after))])

    def gather(self) -> list[Any]:
        jobs = self.core.take(self.core.inbox)
        self.fence.keep_ours(jobs)
        return jobs

    def gather_or_put_back(self) -> list[Any]:
        """As `gather`, which an interrupt may strike: then the next one returns the jobs."""
        jobs: list[Any] = []
        try:
            with defer_signals():
                jobs = self.core.take(self.core.inbox)
                with allow_signals():
                    self.fence.keep_ours(jobs)
        except BaseException:
            self.core.put_back(self.core.inbox, jobs)
            raise
        return jobs

    def turns(self) -> None:
        """Do what the fence's thread would do now."""
        for _ in range(3):
            if not self.fence._turn():
                return

    # What others do.

    def another_claims(self, *numbers: int, owner: str = "another") -> None:
        self.storage.lease(self.search.search_id, owner, 30.0)
        claimed = claim_lost(self.storage, self.search.search_id, owner, numbers)
        assert [record.number for record in claimed] == list(numbers)

    def starts(self, number: int, attempt: int) -> None:
        """The owner of a job starts it."""
        self.storage.append([Event("started", self.search.search_id, number, {"start": 1.0, "attempt": attempt})])

    def another_finishes(self, number: int) -> None:
        data = {"status": "DONE", "objective": 7.0, "attempts": 2, "owner": "another",
                "timestamp_start": 3.0, "timestamp_end": 4.0}  # fmt: skip
        self.storage.append([Event("finished", self.search.search_id, number, data)])

    # What the storage has.

    def written(self, kind: str) -> list[Event]:
        return [event for event in self.storage.read(None)[0] if event.kind == kind]

    def results(self) -> dict[int, Any]:
        return {each.number: each.objective for each in self.storage.results(self.search.search_id)}
