"""Programs whose run-functions do to their rank what they should not: ``python tests/backends/mpi/faulty.py NAME``."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.backends.mpi.programs import double, say

from evalpool import MPICommEvaluator
from evalpool.testing._stopping import StopAfterThree


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While this lasts, on the root, jobs that call `hang` do."""
    with open("held", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hang(job: Any) -> None:
    """Wait in C code that holds the GIL, as many extensions do while they compute."""
    Path(f"begun-{job['x']}").touch()
    with open("held", "rb") as file:
        ctypes.PyDLL(None).flock(file.fileno(), fcntl.LOCK_EX)
    Path(f"let-go-{job['x']}").touch()


def wait_for(*files: str) -> None:
    while not all(Path(file).exists() for file in files):
        threading.Event().wait(0.01)


def blames() -> None:
    """Of many short jobs one hangs; also behind one whose result is large."""

    def run(job: Any) -> Any:
        if job["x"] == job["bad"]:
            hang(job)
        return {"objective": double(job), "output": b"1" * (3_000_000 if job["x"] == job["bad"] - 1 else 1)}

    with MPICommEvaluator(run, job_timeout=1.0) as evaluator:
        evaluator.submit([{"x": n, "bad": -1} for n in range(100)])  # many are prefetched from now on
        evaluator.gather()
        for bad in (3, 18):
            with held():
                evaluator.submit([{"x": n, "bad": bad} for n in range(40)])
                jobs = evaluator.gather()
            wait_for(f"let-go-{bad}")  # else the next round may take the lock first, and two ranks hang
            say(bad=bad, failed=[(job.args["x"], job.objective) for job in jobs if job.objective != double(job.args)])


def leads_elsewhere() -> None:
    """Jobs prefetched by a rank that is unresponsive, while the others always have something to do."""

    def run(job: Any) -> float:
        if job["x"] == 3:
            hang(job)
        threading.Event().wait(0.02)
        return double(job)

    with MPICommEvaluator(run, job_timeout=1.0) as evaluator, held():
        jobs = evaluator.submit([{"x": n} for n in range(4)])
        while not all(job.is_done for job in jobs[:6]):
            jobs += evaluator.submit([{"x": len(jobs) + n} for n in range(len(evaluator.gather("BATCH", 1)))])
        evaluator.gather()
        say(failed=[(job.args["x"], job.objective) for job in jobs if job.objective != double(job.args)])


def loses_all() -> None:
    """Every rank hangs; jobs that wait fail with the reason, until one answers again."""
    import evalpool.backends._mpi._launcher as launcher

    launcher.GIVE_UP_AFTER = 0.3

    def run(job: Any) -> float:
        if job["x"] < 2:
            hang(job)
        return double(job)

    with MPICommEvaluator(run, job_timeout=0.2) as evaluator:
        with held():
            jobs = evaluator.submit([{"x": n} for n in range(2)])
            wait_for("begun-0", "begun-1")
            jobs += evaluator.submit([{"x": n} for n in range(2, 12)])
            evaluator.gather()
            say(got=[job.objective for job in jobs], error=jobs[-1].error)
        while True:
            evaluator.submit([{"x": 5}])
            (job,) = evaluator.gather()
            if job.objective == 10.0:
                break
            threading.Event().wait(0.05)
        say(again=job.objective)


def pieces() -> None:
    """Values of all sizes around those at which messages are cut; on every rank."""
    from evalpool._mpi import _crew

    _crew.PIECE = 1 << 16
    big = bytes(range(256)) * 3000

    def run(job: Any, big: bytes) -> Any:
        data = job["data"]
        return {"objective": float(len(big)), "output": data[::-1]}

    with MPICommEvaluator(run, run_function_kwargs={"big": big}, job_type="task") as evaluator:
        if evaluator.is_master:
            sizes = [1 << 16, 3 << 16, (1 << 16) - 1, 70_000, *range((2 << 16) - 400, (2 << 16) + 1, 7)]
            jobs = evaluator.submit([{"data": os.urandom(size)} for size in sizes])
            evaluator.gather()
            same = [job.output["output"] == job.args["data"][::-1] for job in jobs]
            say(same=all(same), count=len(same), big=jobs[0].output["objective"] == len(big))


def too_large() -> None:
    """A result that there is no memory to send."""

    def run(job: Any) -> Any:
        import resource

        import numpy as np

        if job["x"] == 1:
            result = np.ones(40_000_000)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, resource.RLIM_INFINITY))
            return {"objective": 1.0, "output": result}
        return double(job)

    with MPICommEvaluator(run, num_workers=1) as evaluator:
        jobs = evaluator.submit([{"x": n} for n in range(3)])
        evaluator.gather()
        say(got=[job.objective for job in jobs], error=jobs[1].error)


def leaves() -> None:
    """``os._exit``: of a child that the run-function forked, then of the rank itself."""

    def run(job: Any) -> float:
        if job["x"] == 0:
            pid = os.fork()
            if pid == 0:
                os._exit(7)
            return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)

    with MPICommEvaluator(run) as evaluator:
        evaluator.submit([{"x": 0}])
        say(child=evaluator.gather()[0].objective)
        evaluator.submit([{"x": 1}])
        say(never=len(evaluator.gather()))


def leaves_by_c() -> None:
    """``exit`` of C, as Fortran's STOP: of a child that the run-function forked, then of the rank itself."""

    def run(job: Any) -> float:
        if job["x"] == 0:
            pid = os.fork()
            if pid == 0:
                ctypes.CDLL(None).exit(7)
            return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        ctypes.CDLL(None).exit(0)
        return 0.0

    with MPICommEvaluator(run) as evaluator:
        evaluator.submit([{"x": 0}])
        say(child=evaluator.gather()[0].objective)
        evaluator.submit([{"x": 1}])
        say(never=len(evaluator.gather()))


def leave_a_child() -> None:
    """Fork a child that keeps all open files of this rank, its connection to the launcher too, until `keep` ends."""
    kept = os.open("kept", os.O_RDONLY)
    if os.fork() == 0:
        os.read(kept, 1)
        os._exit(0)


def keep() -> None:
    """Until this process ends, the children that others leave live."""
    os.mkfifo("kept")
    os.open("kept", os.O_RDWR)


def leaves_by_c_without_its_connection() -> None:
    """``exit`` of C in a rank whose child holds its connection to the launcher, but nothing that it prints to."""

    def run(job: Any) -> float:
        kept, connection = os.open("kept", os.O_RDONLY), int(os.environ.get("PMI_FD", -1))
        if os.fork() == 0:
            for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {kept, connection}:
                with contextlib.suppress(OSError):
                    os.close(fd)
            os.read(kept, 1)
            os._exit(0)
        ctypes.CDLL(None).exit(0)
        return 0.0

    keep()
    with MPICommEvaluator(run) as evaluator:
        evaluator.submit([{}])
        while not evaluator.gather("BATCH", 1, timeout=0.1):
            os.write(2, b".")  # at each, MPICH's launcher looks for ranks that have ended


def dies_beside_a_child() -> None:
    """A rank, or with the argument "root" the search, is killed, and has a child that holds all that it had open."""

    def run(job: Any) -> float:
        if job["root"]:
            keep()
            return 1.0
        leave_a_child()
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    root = sys.argv[1:] == ["root"]
    if not root:
        keep()
    with MPICommEvaluator(run) as evaluator:
        evaluator.submit([{"root": root}])
        say(got=evaluator.gather()[0].objective)
        leave_a_child()
        os.kill(os.getpid(), signal.SIGKILL)


def killer() -> None:
    """One job kills its rank; under ``isolated`` its process."""
    from evalpool.storage import JournalStorage

    def run(job: Any) -> float:
        if job["x"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return double(job)

    isolation = "process" if sys.argv[1:] == ["isolated"] else None
    with JournalStorage("journal") as storage:
        search_id = "latest" if storage.load_all_search_ids() else None
        with MPICommEvaluator(run, storage=storage, search_id=search_id, isolation=isolation) as evaluator:
            again = evaluator.resume(None if isolation else 2)
            if evaluator.num_jobs_submitted == 0:
                evaluator.submit([{"x": n} for n in range(5)])
            jobs = sorted(evaluator.gather(), key=lambda job: job.number)
            say(again=again, got=[job.objective for job in jobs], error=jobs[2].error)


def many_files() -> None:
    """Root and ranks have more files open than `select` can hear."""
    import resource

    from evalpool import profile

    def open_many(job: Any) -> float:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        for _ in range(1200):
            os.open(os.devnull, os.O_RDONLY)
        return double(job)

    open_many({"x": 0})
    makes: list[Any] = [
        lambda: MPICommEvaluator(open_many, num_workers=1),
        lambda: MPICommEvaluator(double, num_workers=1, isolation="process"),
        lambda: MPICommEvaluator(profile(memory=True)(double), num_workers=1),
    ]
    for make in makes:
        with make() as evaluator:
            evaluator.submit([{"x": 1}])
            (job,) = evaluator.gather()
            say(got=job.objective, error=job.error)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def odd_jobs() -> None:
    """On ranks and in their children: a forked child that comes back, an early stop; in children a crash as well."""

    def run(job: Any) -> float:
        if job["how"] == "crashes":
            crash()
        if job["how"] == "forks":
            pid = os.fork()
            return -1.0 if pid == 0 else float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        budget = 0
        while not job.stopped() and budget < 9:
            budget += 1
            job.record(budget, 0.5)
        return budget

    for isolation, hows in ((None, ["forks", "stops"]), ("process", ["forks", "stops", "crashes"])):
        with MPICommEvaluator(run, num_workers=1, isolation=isolation, stopper=StopAfterThree()) as evaluator:
            jobs = evaluator.submit([{"how": how} for how in hows])
            evaluator.gather()
            say(got=[(job.objective, job.stopped_early) for job in jobs], error=jobs[-1].error)


def uploads() -> None:
    """What isolated jobs registered with `atexit`: in its time, and cut."""

    def run(job: Any) -> float:
        import atexit

        def upload() -> None:
            if job["hangs"]:
                threading.Event().wait(60)
            Path("uploaded").write_text("done")

        atexit.register(upload)
        return 1.0

    for hangs, exit_timeout in ((False, None), (True, 0.1)):
        with MPICommEvaluator(run, num_workers=1, isolation="process", exit_timeout=exit_timeout) as evaluator:
            evaluator.submit([{"hangs": hangs}])
            evaluator.gather()
    try:
        MPICommEvaluator(run, exit_timeout=1.0)
    except ValueError as error:
        say(error=str(error))


def waits_for_ranks() -> None:
    """An evaluator whose ranks are all busy for another one."""
    import logging

    import evalpool.backends._pool._shortage as shortage

    said_so = threading.Event()

    class Tells(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(warning=record.getMessage())
            said_so.set()
            Path("go").touch()

    def run(job: Any) -> float:
        Path("begun").touch()
        wait_for("go")
        return double(job)

    logging.getLogger("evalpool").addHandler(Tells())
    with MPICommEvaluator(run) as first, MPICommEvaluator(double) as second:
        first.submit([{"x": 1}])
        wait_for("begun")
        shortage.NO_WORKER_FOR = 0.2
        second.submit([{"x": 2}])
        say(got=[second.gather()[0].objective, first.gather()[0].objective], said=said_so.is_set())


def finalizes() -> None:
    def run(job: Any) -> float:
        library = ctypes.CDLL(os.environ["MPI4PY_LIBMPI"])
        if job["x"] == 3:
            library.MPI_Finalize()  # as an extension does it
        return 1.0

    with MPICommEvaluator(run) as evaluator:
        evaluator.submit([{"x": n} for n in range(6)])
        say(never=len(evaluator.gather()))


def finalizes_at_the_end() -> None:
    """As legacy scripts do, with an evaluator still open."""
    from mpi4py import MPI

    evaluator = MPICommEvaluator(double)
    evaluator.submit([{"x": 1}])
    say(got=evaluator.gather()[0].objective)
    MPI.Finalize()
    say(closed=evaluator.num_jobs_submitted)


def raises_later() -> None:
    """A handler that a run-function left behind raises in the rank's own code."""

    def run(job: Any) -> float:
        def late(number: int, frame: Any) -> None:
            raise RuntimeError("too late for its job")

        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        return 1.0

    with MPICommEvaluator(run, num_workers=1) as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
        say(got=1)
        evaluator.submit([{}] * 5)
        while True:
            evaluator.gather("BATCH", 1, timeout=0.1)


if __name__ == "__main__":
    name, sys.argv = sys.argv[1], [sys.argv[0], *sys.argv[2:]]
    globals()[name]()
