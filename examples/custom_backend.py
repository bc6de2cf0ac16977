"""A backend of your own, with four methods.

This one starts a Python interpreter for each job: slow to start, but nothing that a job leaves behind can affect the
next. The evaluator does the rest: the queue, slots, timeouts, retries, records, callbacks.

    python examples/custom_backend.py
"""

import os
import pickle
import subprocess
import sys
import threading
import time

from evalpool import Evaluator, FailureKind, RunningJob
from evalpool.backends import Attempt, Backend, Line, Port, RemoteCall, read_outcome
from evalpool.outcomes import failed

CHILD = """
import os, pickle, sys
result = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the run-function prints must not mix with its result
call, arguments = pickle.load(sys.stdin.buffer)
result.write(call(*arguments))
"""


class FreshInterpreters(Backend):
    """An interpreter for each job."""

    workers_are = "processes"  # a storage must be one that other processes can reach
    jobs_are_isolated = True

    def start(self, port: Port) -> None:
        self.port = port
        self.line = Line(port)  # the connection over which a job records, and asks whether to stop
        setup = port.setup()  # the run-function and its keyword arguments, pickled once
        self.call = RemoteCall(setup.task, setup.storage, setup.advice, self.line.address, setup.origin)
        self.children: dict[Attempt, subprocess.Popen[bytes]] = {}

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            threading.Thread(target=self.attend, args=(attempt,), daemon=True).start()

    def attend(self, attempt: Attempt) -> None:
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe, stderr=pipe)
        self.children[attempt] = child
        if self.port.watches_starts:
            self.port.started(attempt, None)
        number = attempt.job.number
        configuration = pickle.dumps((attempt.configuration, attempt.extra))
        result, stderr = child.communicate(pickle.dumps((self.call, (number, attempt.number, configuration))))
        del self.children[attempt]
        self.line.forget(number, attempt.number)
        if child.returncode == 0:
            outcome = read_outcome(result)
        else:
            text = f"The interpreter ended with exit code {child.returncode}: {stderr[-500:].decode()}"
            outcome = failed(FailureKind.WORKER_DIED, text)
        self.port.report([(attempt, outcome)])

    def force_stop(self, attempt: Attempt) -> bool:
        child = self.children.get(attempt)
        if child is not None:
            child.kill()  # `attend` sees it end and reports
        return child is not None

    def shutdown(self, now: bool) -> None:
        for child in list(self.children.values()):
            child.kill()
        self.line.close()


class FreshInterpreterEvaluator(Evaluator):
    """Runs each job in an interpreter that is started for it."""

    backend_class = FreshInterpreters


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
