"""A random search over MPI ranks: one searches, the others evaluate.

    mpirun -n 4 python -m evalpool.mpi examples/mpi_search.py

Only the root runs this file, so it needs no condition on the rank. Each rank's jobs run in a child process, so that a
crash affects only one job. Started by `python examples/mpi_search.py`, it has one rank, and says what to type instead.
"""

from __future__ import annotations

import os
import random
from typing import Any

from evalpool import Job, MPICommEvaluator, RunningJob


def simulate(job: RunningJob) -> float:
    """Imitates a solver that sometimes ends its process."""
    if random.Random(job.seed).random() < 0.05:
        os._exit(1)
    x, y = float(job["x"]), float(job["y"])
    return -((x - 0.3) ** 2) - (y + 0.1) ** 2


def main() -> None:
    draw = random.Random(1)

    def propose() -> dict[str, float]:
        return {"x": draw.uniform(-1, 1), "y": draw.uniform(-1, 1)}

    done: list[Job[Any]] = []
    with MPICommEvaluator(simulate, isolation="process", job_timeout=10, seed=1) as evaluator:
        evaluator.submit([propose() for _ in range(2 * evaluator.num_workers)])
        while len(done) < 60:
            jobs = evaluator.gather("BATCH", size=1)
            done += jobs
            evaluator.submit([propose() for _ in jobs])
    good = [job for job in done if isinstance(job.objective, float)]
    best = max(good, key=lambda job: job.objective)
    print(f"{len(done)} jobs, {len(done) - len(good)} crashed; best {best.objective:.4f} at {best.args}")


if __name__ == "__main__":
    main()
