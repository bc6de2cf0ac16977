"""Searches in simulated time, on any backend: what they see is the same bit for bit on all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool import Evaluator, RunningJob, queued
from evalpool.simulation import simulated

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


SEARCHES: dict[str, Callable[[type[Evaluator], int], Seen]] = {"plain": plain, "limited": limited, "queued": lent}
