"""A backend in the form of before, as examples/custom_backend.py had it."""
# mypy: ignore-errors
# ruff: noqa

import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

from evalpool import Evaluator, FailureKind, Job, RunningJob
from evalpool.backends import Line, RemoteCall, read_outcome
from evalpool.evaluator import pack
from evalpool.outcomes import failed
from evalpool.storage import Sharing

CHILD = """
import os, pickle, sys
result = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the run-function prints must not mix with its result
call, arguments = pickle.load(sys.stdin.buffer)
result.write(call(*arguments))
"""


class FreshInterpreterEvaluator(Evaluator):
    """Runs each job in an interpreter that is started for it."""

    def _needed_sharing(self) -> Sharing:
        return Sharing.PROCESSES  # a storage must be one that other processes can reach

    def _start(self) -> None:
        packed = pack(self)  # the run-function and its keyword arguments, pickled once
        if packed.error:
            raise TypeError(packed.error)
        self._line = Line(self)  # over which a job records, and asks whether to stop
        self._call = RemoteCall(packed.task, packed.storage, packed.advice, self._line.address, packed.origin)
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def _dispatch(self, job: Job[Any]) -> None:
        threading.Thread(target=self._attend, args=(job, job.attempts), daemon=True).start()

    def _attend(self, job: Job[Any], attempt: int) -> None:
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe, stderr=pipe)
        self._children[job.number] = child
        if self._watches_starts:
            self._started(job)
        configuration = pickle.dumps((job.args, job._extra))
        result, stderr = child.communicate(pickle.dumps((self._call, (job.number, attempt, configuration))))
        del self._children[job.number]
        self._line.forget(job.number, attempt)
        if child.returncode == 0:
            outcome = read_outcome(result)
        else:
            text = f"The interpreter ended with exit code {child.returncode}: {stderr[-500:].decode()}"
            outcome = failed(FailureKind.WORKER_DIED, text)
        self._report(job, outcome, attempt)

    def _interrupt(self, job: Job[Any]) -> bool:
        child = self._children.get(job.number)
        if child is not None:
            child.kill()  # `_attend` sees it end and reports
        return child is not None

    def _stop(self, now: bool) -> None:
        for child in list(self._children.values()):
            child.kill()
        self._line.close()


def run(job: RunningJob) -> object:
    """The run-function."""
    if job["x"] == 2:
        os._exit(7)
    if job["x"] == 3:
        time.sleep(3600)
    return {"objective": job["x"] ** 2, "metadata": {"process": os.getpid()}}


def main() -> None:
    with FreshInterpreterEvaluator(run, num_workers=2) as evaluator:
        submitted = evaluator.submit([{"x": x} for x in range(6)])
        jobs = evaluator.gather("BATCH", size=5)
        submitted[3].cancel()  # it would sleep for an hour
        jobs += evaluator.gather("ALL")
    for job in sorted(jobs, key=lambda job: job.number):
        print(f"x = {job.args['x']}: {job.objective}")
    processes = [job.metadata["process"] for job in jobs if job.kind is None]
    print(f"{len(processes)} results from {len(set(processes))} processes")


if __name__ == "__main__":
    main()
