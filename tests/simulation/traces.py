"""Searches in simulated time, on any backend: what they see is the same bit for bit on all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool import Evaluator, RandomSearch, Retries, RunningJob, queued
from evalpool.benchmarks import compare, load
from evalpool.search import MedianStopper
from evalpool.simulation import Distribution, WorkerModel, simulate, simulated

Seen = tuple[str, list[tuple[Any, ...]]]
"""The trace's digest, and each job as it was given back."""


def run(job: RunningJob, dequed: Any = None) -> Any:
    if job["n"] % 11 == 3:
        raise ValueError("as asked")
    if job["n"] % 11 == 5:
        return {"objective": "F_oom", "metadata": {"runtime": job["r"]}}
    return {"objective": job["n"] + job.seed % 7, "runtime": job["r"]}


def see(evaluator: Any, configurations: list[dict[str, Any]], ahead: int, think: float) -> Seen:
    """Keep `ahead` jobs out, and think for `think` virtual seconds before each further one."""
    given: list[Any] = []
    evaluator.submit(configurations[:ahead])
    for configuration in configurations[ahead:]:
        given += evaluator.gather("BATCH", 1)
        evaluator.advance(think)
        evaluator.submit([configuration])
    given += evaluator.gather("ALL")
    facts = [
        (job.number, job.objective, job.metadata["virtual_end"], job.metadata["virtual_worker"],
         job.metadata.get("dequed"))
        for job in given
    ]  # fmt: skip
    return evaluator.trace_digest(), facts


def _configurations(count: int) -> list[dict[str, Any]]:
    return [{"n": n, "r": ((7 * n) % 16) / 8} for n in range(count)]


def plain(backend: type[Evaluator], real_workers: int) -> Seen:
    with simulated(backend)(run, num_workers=5, real_workers=real_workers, seed=1) as evaluator:
        return see(evaluator, _configurations(40), 10, 0.125)


def limited(backend: type[Evaluator], real_workers: int) -> Seen:
    """With a time limit on jobs, and retries."""
    with simulated(backend)(
        run, num_workers=3, real_workers=real_workers, seed=1, job_timeout=1.5, retries=1
    ) as evaluator:
        return see(evaluator, _configurations(30), 6, 0.0)


def lent(backend: type[Evaluator], real_workers: int) -> Seen:
    """Fewer resources than virtual workers."""
    with simulated(queued(backend))(
        run, num_workers=5, real_workers=real_workers, seed=1, queue=["a", "b", "c"]
    ) as evaluator:
        return see(evaluator, _configurations(30), 8, 0.25)


def train(job: RunningJob) -> Any:
    """Nine steps, each with its own declared time; half of the jobs record them, the others return them as a curve."""
    curve = [(step, ((5 * job["n"]) % 13) * step / 9, job["r"] * step**2 / 81) for step in range(1, 10)]
    if job["n"] % 2:
        return {"objective": curve[-1][1], "runtime": job["r"], "curve": curve}
    for point in curve:
        job.record(*point)
        if job.stopped():
            break
    return {"objective": point[1], "runtime": job["r"]}


def stopped(backend: type[Evaluator], real_workers: int) -> Seen:
    """Jobs that a stopper ends at points of their learning curves."""
    with simulated(backend)(
        train, num_workers=5, real_workers=real_workers, seed=1, stopper=MedianStopper(max_steps=9)
    ) as evaluator:
        digest, facts = see(evaluator, _configurations(30), 8, 0.125)
        return digest, [
            *facts,
            *((record.number, record.stopped_early, len(record.recorded)) for record in evaluator.results()),
        ]


def failing(backend: type[Evaluator], real_workers: int) -> Seen:
    """On workers that start late, crash and are taken away; what is lost is run again."""
    model = WorkerModel(
        start_delay=Distribution.uniform(0.25, 1.0, seed=1),
        crash=0.1,
        preempted_after=Distribution.exponential(4.0, seed=2),
        away=0.5,
    )
    with simulated(backend)(
        run, num_workers=4, real_workers=real_workers, seed=1, worker_model=model, retries=Retries(worker_died=2)
    ) as evaluator:
        digest, facts = see(evaluator, _configurations(30), 8, 0.125)
        return digest, [*facts, *((record.number, record.attempts) for record in evaluator.results())]


def benchmarked(backend: type[Evaluator], real_workers: int) -> Seen:
    """A search on a benchmark, with one worker and with eight."""
    digits = load("digits")
    digests, facts = [], []
    for workers in (1, 8):
        own = simulated(backend)(digits, num_workers=workers, real_workers=min(workers, real_workers), seed=workers)
        with own as evaluator:
            result = simulate(RandomSearch(digits, workers), None, max_evals=20, evaluator=evaluator)
        digests.append(result.trace_digest())
        facts += list(enumerate(result.objectives))
    return " ".join(digests), facts


def cells(evaluator: str, num_workers: int | None = None) -> dict[str, str]:
    """The digest of each cell of two comparisons whose cells run on this backend: of several searches, and of one
    with workers that fail and a stopper.
    """
    several = ["random", "tpe", "nsga2", "hyperband"]
    failing: dict[str, Any] = {
        "worker_model": WorkerModel(start_delay=0.1, crash=0.2),
        "retries": 1,
        "stopper": "median",
    }
    digests = {}
    parts: Any = (("plain", several, 1, {}), ("failing", ["random"], 2, failing))
    for name, searches, seeds, conditions in parts:
        found = compare(
            searches, ["digits?curve=True"], workers=[1, 8], seeds=seeds, budget=20, evaluator=evaluator,
            num_workers=num_workers, **conditions,
        )  # fmt: skip
        assert not found.errors, found.errors
        digests.update({f"{name}: {cell}": found.digest(cell) for cell in found.cells})
    return digests


SEARCHES: dict[str, Callable[[type[Evaluator], int], Seen]] = {
    "plain": plain, "limited": limited, "queued": lent, "stopped": stopped, "failing": failing,
    "benchmarked": benchmarked,
}  # fmt: skip
