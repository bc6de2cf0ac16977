"""What each kind of storage hears, and when; nothing is lost and nothing told twice, whatever it raises."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from evalpool._json import jsonable
from evalpool.errors import StorageUnavailable
from evalpool.evaluator._back_off import BackOff
from evalpool.evaluator._job_events import JobEvents
from evalpool.evaluator._open_search import OpenSearch
from evalpool.evaluator._recorder import Recorder, recorder_for
from evalpool.evaluator._storage_recorder import DurableRecorder, StorageRecorder
from evalpool.evaluator._timeline import RealTime
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed
from evalpool.storage import Event, MemoryStorage, NullStorage, Storage
from faults.lines import interrupt_at


class Store(MemoryStorage):
    """Notes by which way events come, and raises what it is told to.

    Attributes:
        now, soon: events that came by `append` and by `append_soon`.
        raises: what `append` raises; `raises_soon`: what `append_soon` does.
    """

    def __init__(self, durable: bool = False) -> None:
        super().__init__()
        self.durable = durable
        self.now: list[Event] = []
        self.soon: list[Event] = []
        self.raises: BaseException | None = None
        self.raises_soon: BaseException | None = None
        self.asked = 0

    def append(self, events: Sequence[Event]) -> None:
        self.asked += 1
        if self.raises is not None:
            raise self.raises
        self.now += events
        super().append(events)

    def append_soon(self, events: Sequence[Event]) -> None:
        if self.raises_soon is not None:
            raise self.raises_soon
        self.soon += events
        super().append(events)


class Ours:
    """The jobs are ours, as long as the test says so."""

    def __init__(self) -> None:
        self.claimed: dict[int, Job[Any]] = {}
        self.taken_up: set[int] = set()
        self.lasts = True
        self.held_back: list[Job[Any]] = []
        self.kept_starts = 0

    def holds(self) -> bool:
        return self.lasts

    def hold_back(self, jobs: list[Job[Any]]) -> None:
        self.held_back += jobs

    def keep_start(self) -> None:
        self.kept_starts += 1


class Owner:
    seed = 3

    def __init__(self, times: RealTime) -> None:
        self._times = times

    def cancel(self, jobs: Any) -> int:
        return 0


class User:
    """Whose end closes a storage that was given by its URL."""


class Recording:
    """A recorder for a storage, and jobs to record."""

    def __init__(self, storage: Storage | None) -> None:
        self.search = OpenSearch(
            storage, None, job_type="hpo", seed=3, seed_given=True, check=lambda storage: None, user=User()
        )
        self.storage: Any = self.search.storage
        if isinstance(storage, Store):
            storage.now.clear()
        self.ours = Ours()
        self.back_off = BackOff()
        self.times = RealTime(self.search.origin, lambda extra: {})
        self.held: list[Job[Any]] = []
        events = JobEvents(self.search, self.times)
        self.recorder: Recorder = recorder_for(
            self.search, events, self.back_off, self.ours, lambda jobs: jobs + self.held
        )

    def job(self, number: int) -> Job[Any]:
        job: Job[Any] = Job(
            Owner(self.times),
            None,
            self.search.search_id,
            number,
            {"x": number},
            "hpo",
            0.5,  # type: ignore[arg-type]
        )
        job.attempts = 1
        return job

    def jobs(self, n: int = 2) -> list[Job[Any]]:
        jobs = [self.job(number) for number in range(n)]
        self.recorder.created(jobs)
        return jobs

    def end(self, jobs: list[Job[Any]], outcome: Outcome | None = None) -> None:
        """As the core does, under its lock."""
        for job in jobs:
            job._outcome = Outcome(JobStatus.DONE, float(job.number)) if outcome is None else outcome
            job._status = job._outcome.status
            if self.recorder.unrecorded is not None:
                self.recorder.unrecorded.add(job.number)

    def gather(self, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            job._gathered = 9.0
        self.recorder.gathered(jobs)

    def durable(self) -> DurableRecorder:
        assert isinstance(self.recorder, DurableRecorder)
        return self.recorder

    def counts(self) -> Counter[str]:
        """How often each kind of event of jobs is in the storage."""
        return Counter(event.kind for event in self.storage.read(None)[0] if event.number is not None)

    def objectives(self) -> list[Any]:
        return [record.objective for record in self.storage.results(self.search.search_id)]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


@pytest.fixture(params=["own", "memory", "durable"])
def recording(request: pytest.FixtureRequest) -> Recording:
    makers: dict[str, Callable[[], Storage | None]] = {
        "own": lambda: None,
        "memory": Store,
        "durable": lambda: Store(durable=True),
    }
    return Recording(makers[request.param]())


def test_what_a_job_goes_through_is_in_its_record_whatever_the_storage(recording: Recording) -> None:
    recorder = recording.recorder
    jobs = recording.jobs()
    recorder.started(jobs[0], 1.0, 1, None)
    recorder.recorded(jobs[0], 0.5, 7.0)
    recorder.write_noted()
    recording.end(jobs)
    recorder.outcomes(jobs)
    recording.gather(jobs)
    first, second = recording.storage.results(recording.search.search_id)
    assert (first.objective, second.objective) == (0.0, 1.0)
    assert (first.status, first.attempts, first.recorded) == (JobStatus.DONE, 1, [(0.5, 7.0)])
    assert (first.timestamp_submit, first.timestamp_gather) == (0.5, 9.0)
    assert first.owner == recording.search.owner
    assert recording.counts()["finished"] == 2


def test_a_storage_that_keeps_nothing_hears_nothing() -> None:
    recording = Recording(NullStorage())
    recorder = recording.recorder
    assert not recorder.keeps
    assert not recorder.hears_starts
    jobs = recording.jobs()
    recorder.recorded(jobs[0], 0.5, 7.0)
    recording.end(jobs)
    recording.gather(jobs)
    assert recording.counts() == {}


def test_a_storage_in_memory_hears_of_running_jobs_in_the_callers_thread_and_of_the_end_at_gather() -> None:
    recording = Recording(Store())
    recorder, store = recording.recorder, recording.storage
    jobs = recording.jobs(1)
    recorder.started(jobs[0], 1.0, 1, None)
    recorder.recorded(jobs[0], 0.5, 7.0)
    assert kinds(store.now) == ["created"]
    recorder.write_noted()
    assert kinds(store.now) == ["created", "started", "recorded"]
    recording.end(jobs)
    assert recorder.unrecorded is None
    recording.gather(jobs)
    assert kinds(store.now[3:]) == ["finished"]
    assert store.now[3].data["timestamp_gather"] == 9.0
    assert store.soon == []


def test_a_durable_storage_hears_of_all_as_soon_as_it_is_known() -> None:
    recording = Recording(Store(durable=True))
    recorder, store = recording.recorder, recording.storage
    jobs = recording.jobs(1)
    recorder.started(jobs[0], 1.0, 1, None)
    recorder.recorded(jobs[0], 0.5, 7.0)
    recording.end(jobs)
    recorder.outcomes(jobs)
    assert kinds(store.soon) == ["started", "recorded", "finished"]
    recording.gather(jobs)
    assert kinds(store.now) == ["created", "gathered"]
    assert not recorder.unrecorded


def test_what_is_gathered_before_its_end_was_handed_over_is_recorded_once() -> None:
    recording = Recording(Store(durable=True))
    jobs = recording.jobs()
    recording.end(jobs)
    recording.gather(jobs)  # it is committed now
    assert kinds(recording.storage.now) == ["created", "created", "finished", "finished", "gathered", "gathered"]
    recording.recorder.outcomes(jobs)  # by the thread that saw the end
    assert recording.storage.soon == []
    assert not recording.recorder.unrecorded


def test_an_interrupt_as_gather_records_leaves_the_end_to_whoever_comes_next() -> None:
    recording = Recording(Store(durable=True))
    jobs = recording.jobs()
    recording.end(jobs)
    recording.storage.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        recording.gather(jobs)
    recording.storage.raises = None
    assert recording.recorder.unrecorded == {0, 1}
    recording.recorder.outcomes(jobs)
    recording.gather(jobs)
    assert recording.counts() == {"created": 2, "finished": 2, "gathered": 2}


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("error", [StorageUnavailable("away"), TypeError("a mistake")])
def test_what_a_storage_cannot_take_is_kept_and_written_with_the_next(
    durable: bool, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recording = Recording(Store(durable=durable))
    recorder, store = recording.recorder, recording.storage
    jobs = recording.jobs(3)
    store.raises = store.raises_soon = error
    recorder.started(jobs[0], 1.0, 1, None)
    with caplog.at_level(logging.ERROR, logger="evalpool"):
        for job in jobs[:2]:
            recording.end([job])
            recorder.outcomes([job])
            recording.gather([job])
    recorder.write_noted()
    said = [record.getMessage() for record in caplog.records]
    told = "away" if isinstance(error, StorageUnavailable) else "Store raised TypeError."
    assert said == [f"{told} Records are kept in memory and written when it is possible."]
    store.raises = store.raises_soon = None
    recording.back_off.end()
    recording.end(jobs[2:])
    recorder.outcomes(jobs[2:])
    recording.gather(jobs[2:])
    assert recording.objectives() == [0.0, 1.0, 2.0]
    assert recording.counts()["started"] == 1


@pytest.mark.parametrize("durable", [False, True])
def test_trouble_at_submission_is_raised(durable: bool) -> None:
    recording = Recording(Store(durable=durable))
    recording.storage.raises = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        recording.recorder.created([recording.job(0)])


def test_a_submission_of_which_nobody_knows_is_recorded_again_and_counts_once(recording: Recording) -> None:
    jobs = recording.jobs()
    recording.recorder.created_again(jobs)
    recording.end(jobs)
    recording.gather(jobs)
    assert recording.objectives() == [0.0, 1.0]


def test_a_storage_that_is_left_alone_is_not_asked_until_the_end() -> None:
    recording = Recording(Store())
    jobs = recording.jobs(1)
    recording.end(jobs)
    recording.back_off.back_off(began=-1e9)  # as after a long wait for a server
    asked = recording.storage.asked
    recording.gather(jobs)
    assert recording.storage.asked == asked
    recording.recorder.write_rest()
    assert recording.objectives() == [0.0]


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_not_json_is_kept_as_its_text(durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Strict(Store):
        """Keeps text, as clients do that write bytes."""

        def append(self, events: Sequence[Event]) -> None:
            for event in events:
                jsonable(event.data, event.kind)
            super().append(events)

    recording = Recording(Strict(durable=durable))
    jobs = recording.jobs(1)
    recording.end(jobs, Outcome(JobStatus.DONE, 1.0, output={"objective": 1.0, "x": 1j}))
    with caplog.at_level(logging.WARNING, logger="evalpool"):
        recording.gather(jobs)
    assert "is kept as its text" in caplog.text
    (record,) = recording.storage.results(recording.search.search_id)
    assert isinstance(record.output, dict)
    assert record.output["x"] == "1j"


def test_outcomes_of_jobs_that_may_be_anothers_are_held_back_and_claimed_ones_never_recorded() -> None:
    recording = Recording(Store(durable=True))
    recorder = recording.durable()
    jobs = recording.jobs(3)
    recording.end(jobs)
    recording.ours.lasts = False
    recorder.outcomes(jobs)
    assert recording.ours.held_back == jobs
    assert recording.storage.soon == []
    recording.ours.claimed[1] = jobs[1]
    recorder.drop(jobs[2])
    recorder.outcomes_of_ours(jobs)
    assert [event.number for event in recording.storage.soon] == [0]


def test_the_start_of_a_job_that_was_lost_before_is_waited_for() -> None:
    recording = Recording(Store(durable=True))
    jobs = recording.jobs()
    recording.ours.taken_up.add(1)
    recording.recorder.started(jobs[0], 1.0, 1, None)
    assert recording.ours.kept_starts == 0
    recording.recorder.started(jobs[1], 1.0, 2, None)
    assert recording.ours.kept_starts == 1


def test_jobs_that_are_left_to_be_resumed_wait_again_if_they_ran() -> None:
    recording = Recording(Store(durable=True))
    ran, waited = jobs = recording.jobs()
    waited.attempts = 0
    recording.end(jobs, failed(FailureKind.SUSPENDED, "left to be resumed"))
    recording.recorder.suspended(jobs)
    recording.recorder.outcomes(jobs)
    written = [(event.kind, event.number) for event in recording.storage.now + recording.storage.soon]
    assert written == [("created", 0), ("created", 1), ("queued", 0), ("queued", 0)]
    assert ran.number == 0


def test_jobs_whose_records_are_lost_are_recorded_again_as_far_as_they_are_here() -> None:
    recording = Recording(Store(durable=True))
    recorder = recording.durable()
    gathered, waiting, ended, forgotten = jobs = recording.jobs(4)
    recording.end([gathered, ended, forgotten])
    recorder.outcomes([gathered, ended, forgotten])
    recording.gather([gathered])
    recording.held = [waiting, ended]
    recording.storage.soon.clear()
    recorder.record_again([job.id for job in jobs])
    again = [(event.kind, event.number) for event in recording.storage.soon]
    assert again == [("created", 0), ("finished", 0), ("created", 1), ("created", 2), ("finished", 2)]


def test_a_forked_child_writes_nothing() -> None:
    recording = Recording(Store())
    jobs = recording.jobs(1)
    recording.recorder.started(jobs[0], 1.0, 1, None)
    recording.storage.raises = StorageUnavailable("away")
    recording.end(jobs)
    recording.gather(jobs)
    recording.storage.raises = None
    recording.recorder.forget()
    recording.recorder.write_noted()
    recording.recorder.write_rest()
    assert recording.counts() == {"created": 1}


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("fails_again", [False, True])
def test_an_interrupt_drops_nothing_that_was_kept_back(durable: bool, fails_again: bool) -> None:
    """It strikes before each line of the next write, which may fail as well."""
    which, struck = 0, True
    while struck:
        recording = Recording(Store(durable=durable))
        recorder, store = recording.recorder, recording.storage
        assert isinstance(recorder, StorageRecorder)
        (job,) = recording.jobs(1)
        store.raises = store.raises_soon = StorageUnavailable("away")
        recorder.recorded(job, 1, 0.1)
        recorder.write_noted()
        recorder.recorded(job, 2, 0.2)
        if not fails_again:
            store.raises = store.raises_soon = None
        recording.back_off.end()
        functions = [
            StorageRecorder.write_noted, StorageRecorder._write, StorageRecorder._write_or_keep,
            StorageRecorder._append, DurableRecorder._keep_back,
            StorageRecorder._keep_back, StorageRecorder.append_soon,
        ]  # fmt: skip
        with interrupt_at(which, *functions) as line, contextlib.suppress(KeyboardInterrupt):
            recorder.write_noted()
        struck = line.struck is not None
        which += 1
        store.raises = store.raises_soon = None
        recording.back_off.end()
        recorder.write_noted()
        recorder.write_rest()
        (record,) = recording.storage.records(recording.search.search_id)
        assert record.recorded == [(1, 0.1), (2, 0.2)], line.struck
    assert which > 10
