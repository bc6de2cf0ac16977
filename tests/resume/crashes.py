"""``python crashes.py URL METHOD``: go on with a search of twelve jobs, one of which ends the program that runs it.

METHOD is that of a backend, or ``queued``, or ``simulated``.

With ``AT_ONCE`` in the environment it does so before its start can have been recorded.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from evalpool import EVALUATORS, RunningJob, queued, simulated
from evalpool.storage import storage_from_url

CULPRIT = 4


def run(job: RunningJob) -> float:
    if "AT_ONCE" not in os.environ:
        threading.Event().wait(0.02)  # so that those beside it have begun as well
    if job["x"] == CULPRIT:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


def lent(job: RunningJob, dequed: list[str]) -> float:
    return run(job)


def timed(job: RunningJob) -> dict[str, float]:
    return {"objective": run(job), "runtime": 10.0 + job["x"]}


def main(url: str, method: str, *max_lost: str) -> None:
    with storage_from_url(url) as storage:
        options: dict[str, Any] = {"storage": storage, "num_workers": 2}
        if storage.load_all_search_ids():
            options["search_id"] = "latest"
        function, cls = run, EVALUATORS["thread" if method in ("queued", "simulated") else method]
        if method == "queued":
            function, cls = lent, queued(cls)
            options["queue"] = ["a", "b"]
        if method == "simulated":
            function, cls = timed, simulated(cls)
            options["real_workers"] = 2
        with cls(function, **options) as evaluator:
            evaluator.resume(*map(int, max_lost))
            if not evaluator.num_jobs_submitted:
                evaluator.submit([{"x": x} for x in range(12)])
            jobs = {job.number: (job.objective, job.attempt_errors, job.error) for job in evaluator.gather()}
    sys.stdout.write(json.dumps(jobs))


if __name__ == "__main__":
    main(*sys.argv[1:])
