"""A backend of your own, with four methods.

This one starts a Python interpreter for each job: slow to start, but nothing that a job leaves behind can affect the
next. The evaluator does the rest: the queue, slots, timeouts, retries, records, callbacks.

    python examples/custom_backend.py
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import cloudpickle
import psutil

from evalpool import Evaluator, FailureKind, RunningJob
from evalpool.backends import Attempt, Backend, Line, Port, RemoteCall, read_outcome
from evalpool.outcomes import Outcome, failed

CHILD = """
import os, pickle, sys
result = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the run-function prints must not mix with its result
call, arguments = pickle.load(sys.stdin.buffer)
call.prepare()
result.write(b"+")  # the job begins
result.flush()
result.write(call(*arguments))
"""


class FreshInterpreters(Backend):
    """An interpreter for each job."""

    workers_are = "processes"  # a storage must be one that other processes can reach
    jobs_are_isolated = True

    def start(self, port: Port) -> None:
        self.port = port
        self.children: dict[Attempt, subprocess.Popen[bytes]] = {}
        self.line = Line(port)  # the connection over which a job records, and asks whether to stop
        setup = port.setup()  # the run-function and its keyword arguments, pickled once
        self.call = RemoteCall(setup.task, setup.storage, setup.advice, self.line.address, setup.origin)

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            threading.Thread(target=self.attend, args=(attempt,), daemon=True).start()

    def attend(self, attempt: Attempt) -> None:
        try:
            outcome = self.evaluate(attempt)
        except BaseException:  # noqa: BLE001  whatever it was, the job must end
            outcome = failed(FailureKind.WORKER_DIED, f"No interpreter could be started: {traceback.format_exc()}")
        self.line.forget(attempt.job.number, attempt.number)
        self.port.report([(attempt, outcome)])

    def evaluate(self, attempt: Attempt) -> Outcome:
        try:
            configuration = cloudpickle.dumps((attempt.configuration, attempt.extra))
        except BaseException:  # noqa: BLE001  the user's objects may raise anything
            return failed(FailureKind.UNPICKLABLE, f"The configuration could not be pickled: {traceback.format_exc()}")
        with tempfile.TemporaryFile() as call, tempfile.TemporaryFile() as stderr:
            pickle.dump((self.call, (attempt.job.number, attempt.number, configuration)), call)
            call.seek(0)
            command = [sys.executable, "-c", CHILD]
            child = subprocess.Popen(command, stdin=call, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
            self.children[attempt] = child
            with child:
                assert child.stdout is not None
                if child.stdout.read(1) and self.port.watches_starts:
                    self.port.started(attempt, None)  # a time limit counts from here
                result = child.stdout.read()
            del self.children[attempt]
            if child.returncode == 0:
                return read_outcome(result)
            if child.returncode == -signal.SIGKILL and self.port.asked_to_stop(attempt):
                return self.port.forced(attempt, "its interpreter was killed")
            stderr.seek(0)
            text = stderr.read()[-500:].decode(errors="replace")
            return failed(FailureKind.WORKER_DIED, f"The interpreter ended with exit code {child.returncode}: {text}")

    def force_stop(self, attempt: Attempt) -> bool:
        child = self.children.get(attempt)
        if child is None or child.returncode is not None:
            return False
        kill(child)  # `evaluate` sees it end
        return True

    def shutdown(self, now: bool) -> None:
        for child in list(self.children.values()):
            kill(child)
        self.line.close()


def kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill an interpreter and all that it has started, also in sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
        process = psutil.Process(child.pid)
        descendants = process.children(recursive=True)
        process.kill()
        for descendant in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()


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
