"""What a type checker knows of a program that uses evalpool; checked by test_typing.py and never run.

Each line with ``reveal_type`` says in its comment what mypy must reveal, without the names of modules.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import reveal_type

from evalpool import (
    Evaluator,
    Job,
    RandomSearch,
    RunningJob,
    SerialEvaluator,
    Submission,
    ThreadPoolEvaluator,
    distributed,
    optimize,
    queued,
    simulate,
    simulated,
)
from evalpool.analysis import performance_of_searches, plot_objective_over_time
from evalpool.backends import Attempt, Backend, Port
from evalpool.storage import SQLiteStorage


def run(job: RunningJob) -> float:
    return float(job["x"])


def backends_by_name(name: str) -> None:
    reveal_type(Evaluator.create(run))  # SerialEvaluator
    reveal_type(Evaluator.create(run, "serial"))  # SerialEvaluator
    reveal_type(Evaluator.create(run, method="thread"))  # ThreadPoolEvaluator
    reveal_type(Evaluator.create(run, "process", {"num_workers": 2}))  # ProcessPoolEvaluator
    reveal_type(Evaluator.create(run, "loky"))  # ProcessPoolEvaluator
    reveal_type(Evaluator.create(run, "ray"))  # RayEvaluator
    reveal_type(Evaluator.create(run, "mpicomm"))  # MPICommEvaluator
    reveal_type(Evaluator.create(run, "mpi"))  # MPICommEvaluator
    reveal_type(Evaluator.create(run, "executor"))  # ExecutorEvaluator
    reveal_type(Evaluator.create(run, name))  # Evaluator
    with Evaluator.create(run, "thread") as evaluator:
        reveal_type(evaluator)  # ThreadPoolEvaluator
    Evaluator.create(3)  # type: ignore[call-overload]
    Evaluator.create(run, "thread", num_workers=2)  # type: ignore[call-overload]


def decorated() -> None:
    with simulated(SerialEvaluator)(run, num_workers=4, real_workers=2, runtime="seconds", seed=0) as evaluator:
        reveal_type(evaluator.now)  # float
        evaluator.advance(3.0)
    with queued(ThreadPoolEvaluator)(run, num_workers=2, queue=[0, 1], job_timeout=3.0) as lending:
        reveal_type(lending.gather())  # list[Job[Any]]
    queued(ThreadPoolEvaluator)(run, num_workers=2)  # type: ignore[call-arg]
    with distributed("storage")(SerialEvaluator)(run, storage=SQLiteStorage("runs.db")) as one:
        reveal_type(one.num_total_workers)  # int
    queued(simulated(SerialEvaluator))(run, queue=[1])
    queued(run)  # type: ignore[arg-type]


class Inline(Backend):
    def start(self, port: Port) -> None:
        reveal_type(port.worker("mine").host)  # str
        self.port = port

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            reveal_type(attempt.configuration)  # dict[str, Any]
            self.port.report([(attempt, self.port.evaluate(attempt, None))])


class InlineEvaluator(Evaluator):
    backend_class = Inline


def engines() -> None:
    reveal_type(InlineEvaluator(run, num_workers=2).gather())  # list[Job[Any]]
    ThreadPoolEvaluator(run, num_wrokers=2)  # type: ignore[arg-type]
    Inline()
    Backend()  # type: ignore[abstract]


def searches(evaluator: Evaluator) -> None:
    jobs = optimize(evaluator, RandomSearch({"x": (0, 9)}), max_evals=3)
    reveal_type(jobs)  # list[Job[Any]]
    reveal_type(evaluator.submit([{"x": 1}]))  # list[Job[Any]]
    reveal_type(evaluator.gather("BATCH", 1))  # list[Job[Any]]
    result = simulate(RandomSearch({"x": (0, 9)}), run, max_evals=3)
    reveal_type(result.makespan)  # float


def options(evaluator: Evaluator, configurations: list[dict[str, Any]]) -> None:
    evaluator.submit(configurations)
    evaluator.submit([{"x": 1}, Submission({"x": 2}, priority=1, job_timeout=3, tags=["warm"])])
    (job,) = evaluator.as_completed([Submission({"x": 2}, tags=("warm",))])
    reveal_type(job.options.tags)  # tuple[str, ...]
    reveal_type(job.options.job_timeout)  # float | None
    Submission({"x": 1}, tags=3)  # type: ignore[arg-type]
    Submission({"x": 1}).priority = 3  # type: ignore[misc]


def a_task(job: Job[list[int]]) -> None:
    reveal_type(job.output)  # list[int] | dict[str, Any] | None
    reveal_type(job.args)  # dict[str, Any]
    reveal_type(job.is_done)  # bool


def plots(evaluator: Evaluator, jobs: list[Job[Any]]) -> None:
    with SQLiteStorage("runs.db") as storage:
        reveal_type(storage)  # SQLiteStorage
        plot_objective_over_time(storage)
        performance_of_searches([storage.results("0"), storage.results("1")])
        performance_of_searches(["first.csv", "second.csv"])
        reveal_type(performance_of_searches([evaluator, evaluator]))  # PerformanceOverTime
    plot_objective_over_time(3)  # type: ignore[arg-type]
