"""An engine is a part of its evaluator, not a subclass: its names, its arguments, its life."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from backends.names import names_of_evaluators
from evalpool import Evaluator, FailureKind, SerialEvaluator
from evalpool.backends import Attempt, Backend, Port
from evalpool.errors import BackendError, BadArgument, EvaluatorClosed, NotShareable
from evalpool.outcomes import failed
from evalpool.storage import MemoryStorage
from evalpool.testing._lifecycle import LifeCycle
from evalpool.testing._results import Results


class ThreadPerJob(Backend):
    """A thread for each attempt."""

    def start(self, port: Port) -> None:
        self.a_port = port
        self.a_worker = port.worker("mine")

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            threading.Thread(target=self.an_attempt, args=(attempt,), daemon=True).start()

    def an_attempt(self, attempt: Attempt) -> None:
        if self.a_port.watches_starts:
            self.a_port.started(attempt, self.a_worker)
        self.a_port.report([(attempt, self.a_port.evaluate(attempt, self.a_worker))])


def test_an_engine_need_not_say_which_worker_it_was() -> None:
    class AtOnce(Backend):
        def start(self, port: Port) -> None:
            self.port = port

        def run(self, attempts: list[Attempt]) -> None:
            self.port.report([(attempt, self.port.evaluate(attempt)) for attempt in attempts])

    class AtOnceEvaluator(Evaluator):
        backend_class = AtOnce

    with AtOnceEvaluator(lambda job: job["x"]) as evaluator:
        evaluator.submit([{"x": 1}, {"x": 2}])
        assert [job.objective for job in evaluator.gather(timeout=20)] == [1, 2]
        assert [record.worker for record in evaluator.results()] == [None, None]


class Greedy(ThreadPerJob):
    """Has an attribute of each name that an evaluator has, but those that say what a backend is."""

    def __init__(self) -> None:
        self.taken = names_of_evaluators() - set(dir(Backend))
        for name in self.taken:
            setattr(self, name, "mine")


class TestGreedy(LifeCycle, Results):
    backend_class = Greedy
    pickles = False


def test_names_of_all_kinds_are_among_those() -> None:
    taken = Greedy().taken
    assert taken >= {"_core", "_hooks", "lock", "search_id", "storage", "submit", "timeout"}
    assert len(taken) > 400


# Arguments of its own.


class Flavoured(ThreadPerJob):
    def __init__(self, flavour: str = "plain", *, strength: int = 1) -> None:
        self.flavour, self.strength = flavour, strength


class FlavouredEvaluator(Evaluator):
    backend_class = Flavoured


def test_arguments_of_the_engine_reach_it() -> None:
    with FlavouredEvaluator(print, num_workers=2, **{"flavour": "sweet"}) as evaluator:
        backend = evaluator._backend
        assert isinstance(backend, Flavoured)
        assert (backend.flavour, backend.strength, evaluator.num_workers) == ("sweet", 1, 2)


def test_an_unknown_argument_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(BadArgument, match=r"no argument 'taste'; it has .*num_workers.*flavour, strength"):
        FlavouredEvaluator(print, **{"taste": 1})
    with pytest.raises(BadArgument, match=r"no argument 'taste'"):
        SerialEvaluator(print, **{"taste": 1})


def test_an_evaluator_without_an_engine_says_what_to_do() -> None:
    with pytest.raises(BadArgument, match="backend_class"):
        Evaluator(print)


# Its life.


class Logged(ThreadPerJob):
    """Notes what is called."""

    def __init__(self, error: BaseException | None = None, workers: int = 2) -> None:
        self.calls: list[str] = []
        self.error, self.workers = error, workers

    def open(self, wanted: int) -> int:
        self.calls.append("open")
        return self.workers

    def start(self, port: Port) -> None:
        self.calls.append("start")
        if self.error is not None:
            raise self.error
        super().start(port)

    def shutdown(self, now: bool) -> None:
        self.calls.append("shutdown")

    def dispose(self) -> None:
        self.calls.append("dispose")


class LoggedEvaluator(Evaluator):
    backend_class = Logged
    _backend: Logged


def make(**own: Any) -> LoggedEvaluator:
    return LoggedEvaluator(lambda job: job["x"], **own)


def test_an_engine_is_opened_started_shut_down_and_disposed_of_in_this_order() -> None:
    with make() as evaluator:
        assert evaluator.num_workers == 2
        evaluator.submit([{"x": x} for x in range(3)])
        assert sorted(job.objective for job in evaluator.gather("ALL", timeout=30)) == [0, 1, 2]
    assert evaluator._backend.calls == ["open", "start", "shutdown", "dispose"]


def test_an_engine_that_was_never_used_is_disposed_of() -> None:
    make().close()
    made: list[Logged] = []

    class InProcesses(Logged):
        workers_are = "processes"

        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    class InProcessesEvaluator(Evaluator):
        backend_class = InProcesses

    with pytest.raises(NotShareable):
        InProcessesEvaluator(print, storage=MemoryStorage())
    assert made[0].calls == ["open", "dispose"]


def test_an_engine_that_does_not_start_fails_each_job_with_the_reason() -> None:
    with make(error=RuntimeError("no room here")) as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        jobs = evaluator.gather("ALL", timeout=30)
    assert [job.kind for job in jobs] == [FailureKind.WORKER_DIED] * 3
    assert all("no room here" in (job.error or "") for job in jobs)


def test_an_engine_that_refuses_to_work_here_makes_submit_raise() -> None:
    with make(error=BackendError("not below Mars")) as evaluator, pytest.raises(BackendError, match="Mars"):
        evaluator.submit([{"x": 1}])


def test_a_late_report_of_an_attempt_that_was_given_up_on_frees_its_slot_alone() -> None:
    class Late(ThreadPerJob):
        def run(self, attempts: list[Attempt]) -> None:
            self.attempts = getattr(self, "attempts", []) + attempts

    class LateEvaluator(Evaluator):
        backend_class = Late
        _backend: Late

    with LateEvaluator(lambda job: 1.0, num_workers=1) as evaluator:
        first, second = evaluator.submit([{}, {}])
        assert first.cancel()
        assert evaluator.gather("BATCH", timeout=30) == [first]
        (attempt,) = evaluator._backend.attempts
        evaluator._backend.a_port.report([(attempt, failed(FailureKind.RAISED, "late"))])
        assert first.kind is FailureKind.CANCELLED
        assert [each.job for each in evaluator._backend.attempts] == [first, second]


def test_a_process_that_only_serves_does_so_in_the_construction() -> None:
    served: list[str] = []

    class Serving(Logged):
        def __init__(self) -> None:
            super().__init__(workers=0)

        def serve(self) -> None:
            served.append("jobs of another process")

    class ServingEvaluator(Evaluator):
        backend_class = Serving
        _backend: Serving

    evaluator = ServingEvaluator(print, storage=MemoryStorage())
    assert served == ["jobs of another process"]
    assert not evaluator.is_master
    assert evaluator._backend.calls == ["open", "dispose"]
    with pytest.raises(EvaluatorClosed):
        evaluator.submit([{}])


def test_an_attribute_in_the_place_of_a_method_of_the_engine_is_refused() -> None:
    class Odd(ThreadPerJob):
        def __init__(self) -> None:
            self.wait: Any = 5

    class OddEvaluator(Evaluator):
        backend_class = Odd

    with pytest.raises(BadArgument, match="Odd has an attribute 'wait' of its own, 5"):
        OddEvaluator(print)
