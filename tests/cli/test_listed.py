"""Several programs that evaluate one list of configurations: each once, also where one of them stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, FailureKind, optimize
from evalpool.cli import _listed
from evalpool.cli._listed import SharedList
from evalpool.storage import JournalStorage, SQLiteStorage, Storage

BOUND = 30.0
Open = Callable[[], Any]


class Held:
    """A client that stands still, if told so, when a job's number is taken and the job is not yet recorded."""

    holds = False

    def hold(self) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()
        self.holds = True

    def append(self, events: Any) -> None:
        if self.holds and events[0].kind == "created":
            self.reached.set()
            assert self.goes_on.wait(BOUND)
        super().append(events)  # type: ignore[misc]


class HeldSQLite(Held, SQLiteStorage):
    pass


class HeldJournal(Held, JournalStorage):
    pass


@pytest.fixture(params=["sqlite", "journal"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[Storage] = []

    def open_one() -> Any:
        made = HeldSQLite(tmp_path / "a.db") if request.param == "sqlite" else HeldJournal(tmp_path / "a")
        opened.append(made)
        return made

    yield open_one
    for one in opened:
        one.close()


def evaluator_on(storage: Any, run: Callable[[Any], float], search: str) -> Evaluator:
    return Evaluator.create(run, "serial", {"storage": storage, "search_id": search})


@pytest.mark.slow
def test_a_program_that_stood_still_before_it_recorded_a_job_does_not_run_what_another_one_took(
    client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listed, "GIVE_UP_AFTER", 0.3)
    runs: list[int] = []

    def run(job: Any) -> float:
        runs.append(job["x"])
        return 1.0

    held = client()
    search = held.create_new_search()
    configurations: list[Any] = [{"x": 0}, {"x": 1}]
    jobs: list[Any] = []
    with evaluator_on(held, run, search) as stopped, evaluator_on(client(), run, search) as other:
        shared = SharedList(stopped, configurations)
        held.hold()
        thread = threading.Thread(target=lambda: jobs.extend(optimize(stopped, shared, 1)))
        thread.start()
        assert held.reached.wait(BOUND)
        beside = SharedList(other, configurations)  # it gives up on the number that has no job
        assert beside.missing == configurations
        optimize(other, beside, 2)
        held.goes_on.set()
        thread.join(BOUND)
        assert not thread.is_alive()
        assert [job.kind for job in jobs] == [FailureKind.CANCELLED]
        assert runs == [0, 1]
        assert shared.must_look_again
        shared.look()
        assert shared.missing == []
        # A job beside the number that was without one is recorded by now, and nothing is missing for anybody.
        beside.look()
        assert beside.missing == []


@pytest.mark.slow
def test_a_program_that_gave_up_a_number_looks_whether_it_has_a_job_after_all(
    client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listed, "GIVE_UP_AFTER", 0.3)
    runs: list[int] = []

    def run(job: Any) -> float:
        runs.append(job["x"])
        return 1.0

    storage = client()
    search = storage.create_new_search()
    with evaluator_on(client(), run, search) as late, evaluator_on(storage, run, search) as other:
        number = storage.reserve(search, 1)  # by a program that stands still
        beside = SharedList(other, [{"x": 0}, {"x": 1}])
        late._submissions.numbers.spare.append((number, 1))
        late.submit([{"x": 0}])  # it goes on, and the other one knows nothing of it
        jobs = optimize(other, beside, 2)
        late.gather()
    assert sorted(runs) == [0, 1]
    assert [(job.args["x"], job.kind) for job in jobs] == [(0, FailureKind.CANCELLED), (1, None)]


@pytest.mark.slow
def test_each_number_is_waited_for_of_its_own(client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was waited for earlier says nothing of the next one."""
    now = 0.0
    monkeypatch.setattr(_listed, "awake_or_not", lambda: now)
    storage = client()
    search = storage.create_new_search()
    with evaluator_on(client(), lambda job: 1.0, search) as one, evaluator_on(storage, lambda job: 1.0, search) as two:
        shared = SharedList(two, [{"x": x} for x in range(3)])

        def look_while_recording(x: int) -> None:
            number = storage.reserve(search, 1)
            one._submissions.numbers.spare.append((number, 1))
            thread = threading.Thread(target=shared.look)
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()  # it waits for the job
            one.submit([{"x": x}])
            thread.join(BOUND)

        look_while_recording(0)
        now += 100.0
        look_while_recording(1)
        assert shared.missing == [{"x": 2}]
