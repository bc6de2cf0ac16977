"""What other processes do in these tests: ``python -m resume.searches NAME ARGUMENT...``

A program says what it has done on standard output, a line each, written at once and whole, so that what it said is
known when it is killed. It goes on when the test writes a line to it, and ends with its standard input.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from evalpool import Evaluator, MaximumJobsSpawnReached, RunningJob, optimize
from evalpool.callbacks import Callback
from evalpool.errors import StorageUnavailable
from evalpool.evaluator import _lease
from evalpool.storage import storage_from_url


def say(*words: object) -> None:
    """Write one line; also from a worker process, which has the same standard output."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def wait_for(word: str) -> None:
    """Wait until the test says so."""
    if sys.stdin.readline().strip() != word:
        raise SystemExit("the test is gone")


class Optimizer:
    """Asks for x = 0, 1, 2, ... and keeps the ids that it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[str] = []

    def ask(self) -> dict[str, Any]:
        self.asked += 1
        return {"x": self.asked - 1}

    def tell(self, job: Any) -> None:
        self.told.append(job.id)


def evaluate(job: RunningJob, seconds: float = 0.0) -> dict[str, Any]:
    """The run-function; its objectives are 0.0, 0.1, 0.2 and again."""
    threading.Event().wait(seconds)
    return {"objective": job["x"] % 3 / 10, "seed": job.seed, "attempt": job.attempt}


class SayGathered(Callback):
    """Says each job once the evaluator has it; the storage has it then."""

    def on_done(self, job: Any) -> None:
        say("gathered", job.number)


def search(url: str, method: str, max_evals: str) -> None:
    """Begin a search with `optimize`, or go on with the one that is there; at its end say what became of it."""
    with storage_from_url(url) as storage:
        kwargs: dict[str, Any] = {"num_workers": 2, "storage": storage, "callbacks": [SayGathered()]}
        if storage.load_all_search_ids():
            kwargs["search_id"] = "latest"
        kwargs["run_function_kwargs"] = {"seconds": 0.002}
        with Evaluator.create(evaluate, method, kwargs) as evaluator:
            evaluator.resume()
            optimizer = Optimizer()
            jobs = optimize(evaluator, optimizer, int(max_evals))
        facts = [
            {
                "id": job.id,
                "status": job.status.name,
                "restored": job.metadata.get("restored", False),
                "submit": job.metadata["timestamp_submit"],
                "end": job.metadata["timestamp_end"],
                "seed": job.seed,
                "output": job.output,
            }
            for job in jobs
        ]
        say("summary", json.dumps({"jobs": facts, "told": optimizer.told, "seed": evaluator.seed}))


def finish(job: RunningJob) -> float:
    """A run-function that says when it ended, on the clock that all processes of a host share."""
    threading.Event().wait(0.001)
    say("finished", job["job_id"], time.monotonic())
    return float(job["x"])


def think(url: str, method: str) -> None:
    """Submit many jobs and think about something else: nobody gathers what they give."""
    with storage_from_url(url) as storage:
        with Evaluator.create(finish, method, {"num_workers": 2, "storage": storage}) as evaluator:
            evaluator.submit([{"x": x} for x in range(5000)])
            wait_for("end")


def hold(url: str, retries: str = "0") -> None:
    """Own three jobs, two of them running, until the test lets them end; say what they gave.

    With a retry their first attempt fails, and their second is held.
    """
    running, released = threading.Semaphore(0), threading.Event()

    def run(job: RunningJob) -> dict[str, Any]:
        if job.attempt <= int(retries):
            raise ConnectionError("try again")
        running.release()
        released.wait()
        job.record(1, "of the owner")
        return {"objective": 1.0, "by": "owner"}

    with storage_from_url(url) as storage:
        kwargs = {"num_workers": 2, "storage": storage, "retries": int(retries)}
        with Evaluator.create(run, "thread", kwargs) as evaluator:
            evaluator.submit([{"x": x} for x in range(3)])
            for _ in range(2):
                running.acquire()
            storage.flush()  # stopped amidst a write, it would hold the file's lock
            say("owner", evaluator._search.owner)
            wait_for("release")
            released.set()
            for job in evaluator.gather():
                say("gathered", job.number, job.objective)
            evaluator.storage.flush()
            say("done")
            wait_for("end")


def stand_still(url: str, rounds: str) -> None:
    """In round n stop at the n-th step between a search and its storage, for longer than the lease.

    Each round is a search of its own: three jobs, one of them gathered, one more, all gathered, closed.
    """
    _lease.TTL = 0.15
    for n in range(int(rounds)):
        with storage_from_url(url) as storage:
            kwargs = {"num_workers": 2, "storage": storage}
            with Evaluator.create(lambda job: float(job["x"]), "thread", kwargs) as evaluator:
                stop_at_step(storage, n)
                evaluator.submit([{"x": x} for x in range(3)])
                jobs = evaluator.gather("BATCH", 1)
                evaluator.submit([{"x": 3}])
                jobs += evaluator.gather()
                others = [job.number for job in evaluator.gather_other_jobs_done()]
            jobs += evaluator.gather()
        facts = [[job.number, job.objective, job.status.name, job.attempts] for job in jobs]
        say("round", json.dumps([facts, others]))
        wait_for("next")


def stop_at_step(storage: Any, n: int) -> None:
    """Stop this process before the n-th call from now of one of the storage's primitives."""
    steps, this_thread = itertools.count(), threading.local()

    def stopping(call: Any) -> Any:
        def step(*arguments: Any) -> Any:
            # Stopped amidst a step, or a write of another thread, it would hold the file's lock.
            if not getattr(this_thread, "is_inside", False) and next(steps) == n:
                with storage._writer.commit_lock:
                    say("stops")
                    os.kill(os.getpid(), signal.SIGSTOP)
            outer, this_thread.is_inside = getattr(this_thread, "is_inside", False), True
            try:
                return call(*arguments)
            finally:
                this_thread.is_inside = outer

        return step

    for name in ("append", "append_soon", "read", "reserve"):
        setattr(storage, name, stopping(getattr(storage, name)))


def wait_or_stopped(job: RunningJob) -> float:
    """A run-function that lasts until it is asked to stop, or, from its second attempt on, no time at all."""
    say("runs", job["job_id"], job.attempt)
    while job.attempt == 1 and not job.stopped():
        time.sleep(0.005)
    return float(job["x"])


def owner(url: str, method: str) -> None:
    """Gather four jobs that never end, of which two run; then submit another one, and say what all gave."""
    _lease.TTL = 0.3
    with storage_from_url(url) as storage:
        with Evaluator.create(wait_or_stopped, method, {"num_workers": 2, "storage": storage}) as evaluator:
            evaluator.submit([{"x": x} for x in range(4)])
            say("gathers", evaluator._search.owner)
            jobs = evaluator.gather()
            say("gathered", json.dumps([[job.number, job.objective, job.attempts] for job in jobs]))
            others = evaluator.gather_other_jobs_done()
            (job,) = evaluator.submit([{"x": 4}])
            job.cancel()
            evaluator.gather()
            say("last", job.number, job.objective, [job.number for job in others])


def member(client: str, search_id: str, cap: str) -> None:
    """Take part in a search up to its cap, one job after the other; say own jobs and those seen of others."""
    import pickle

    with pickle.loads(bytes.fromhex(client)) as storage:
        kwargs = {"num_workers": 2, "storage": storage, "search_id": search_id}
        with Evaluator.create(evaluate, "thread", kwargs) as evaluator:
            evaluator.set_maximum_num_jobs_submitted(int(cap))
            own: list[int] = []
            seen: list[tuple[int, float]] = []
            say("ready")
            wait_for("go")
            try:
                while True:
                    (job,) = evaluator.submit([{"x": len(own)}])
                    own.append(job.number)
                    evaluator.gather("BATCH", 1)
                    seen += [(other.number, other.objective) for other in evaluator.gather_other_jobs_done()]
            except MaximumJobsSpawnReached:
                evaluator.gather()
                storage.flush()
            say("own", json.dumps(own))
            wait_for("look")
            seen += [(other.number, other.objective) for other in evaluator.gather_other_jobs_done()]
            again = evaluator.gather_other_jobs_done()
            say("seen", json.dumps(seen), len(again))


def fill(url: str, limit: str) -> None:
    """Evaluate until the file may not grow, go on nevertheless, then lift the limit; say what happened when."""
    import resource

    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("evalpool").addHandler(handler)
    running, release = threading.Semaphore(0), threading.Event()

    def run(job: RunningJob) -> dict[str, Any]:
        if job["x"] < 0:
            running.release()
            release.wait()
        return {"objective": 0.0, "text": "y" * 3000}

    with storage_from_url(url) as storage:
        with Evaluator.create(run, "thread", {"num_workers": 8, "storage": storage}) as evaluator:
            evaluator.submit([{"x": -1} for _ in range(8)])  # out when the disk fills up
            for _ in range(8):
                running.acquire()
            storage.flush()  # their starts are written
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
            try:
                while True:
                    storage.store_search_value(evaluator.search_id, "ballast", "z" * 2000)
            except StorageUnavailable:
                say("full")
            del lines[:]
            before = evaluator.num_jobs_submitted
            try:
                evaluator.submit([{"x": 1}])
                say("refused", "nothing")
            except StorageUnavailable as error:
                say("refused", evaluator.num_jobs_submitted - before, str(error))
            release.set()
            objectives: list[Any] = []
            while len(objectives) < 8:
                objectives += [job.objective for job in evaluator.gather("BATCH", 1)]
            say("gathered", json.dumps(objectives))
            try:
                storage.flush()
            except StorageUnavailable:
                say("kept", len(storage.load_out_from_all_jobs("0")))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            storage.flush()
            say("written", len(storage.load_out_from_all_jobs("0")))
            say("log", json.dumps(lines))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
