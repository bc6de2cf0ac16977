"""Programs that are run under mpirun, by name: ``python tests/backends/mpi/programs.py NAME`` on every rank.

Several names, with commas between, are run one after the other, each in a folder of its name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

from evalpool import (
    BadArgument,
    Evaluator,
    MaximumJobsSpawnReached,
    MPICommEvaluator,
    SerialEvaluator,
    ThreadPoolEvaluator,
    distributed,
    queued,
    simulated,
)
from evalpool.callbacks import CSVLoggerCallback
from evalpool.storage import MPIStorage, NullStorage

running: dict[str, str] = {}
"""Where several programs are run: the name of the one that runs, for each fact that it says."""


def say(**facts: Any) -> None:
    """One line, in one write: ranks share the output."""
    os.write(1, f"{running | facts}\n".encode())


def double(job: Any) -> float:
    return 2.0 * job["x"]


def hang(job: Any) -> float:
    os.write(1, b"hanging\n")
    while True:
        threading.Event().wait(1000)


class Unreachable:
    """Busy in what no signal ends, for longer than a test may take.

    The signal is blocked where the rank unpickles this, before any job begins: a job that blocked it itself could be
    interrupted before, on a machine that is so busy that the job comes to its first line after its timeout.
    """

    def __init__(self) -> None:
        self.blocked = ["SIGINT"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        import signal

        self.__dict__.update(state)
        signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in self.blocked])

    def __call__(self, job: Any) -> float:
        hang(job)
        return 0.0


def search() -> None:
    """The collective form: every rank runs the script."""
    with MPICommEvaluator(double) as evaluator:
        if evaluator.is_master:
            evaluator.submit([{"x": n} for n in range(100)])
            say(sum=sum(job.objective for job in evaluator.gather()), workers=evaluator.num_workers)
    say(after=evaluator.is_master)


def twice() -> None:
    """Two evaluators, one after the other, and one by name, with a root of its own."""
    for root in (0, 0, 1):
        with Evaluator.create(double, "mpicomm", {"root": root}) as evaluator:
            if evaluator.is_master:
                evaluator.submit([{"x": n} for n in range(10)])
                say(sum=sum(job.objective for job in evaluator.gather()), root=root)


def plain() -> None:
    """No guard: only the root runs this, under ``python -m evalpool.mpi``."""
    with MPICommEvaluator(double) as evaluator:
        evaluator.submit([{"x": n} for n in range(100)])
        say(sum=sum(job.objective for job in evaluator.gather()), argv=sys.argv[1:])


def trace() -> None:
    """The same jobs as on `serial`: objectives, seeds and failures by number."""

    def run(job: Any) -> Any:
        if job["x"] % 5 == 0:
            raise ValueError(job["x"])
        return {"objective": job["x"] + job.seed, "metadata": {"n": job["job_id"]}}

    def results(evaluator: Any) -> Any:
        jobs = evaluator.submit([{"x": n} for n in range(40)])
        evaluator.gather()
        return [(job.id, job.objective, job.status, job.kind, job.metadata.get("n")) for job in jobs]

    with MPICommEvaluator(run, seed=3) as evaluator, SerialEvaluator(run, seed=3) as serial:
        say(same=results(evaluator) == results(serial))


def raises() -> None:
    with MPICommEvaluator(double) as evaluator:
        if evaluator.is_master:
            evaluator.submit([{"x": 1}])
            raise RuntimeError("the search went wrong")


def raises_while_jobs_hang() -> None:
    with MPICommEvaluator(hang) as evaluator:
        if evaluator.is_master:
            evaluator.submit([{}] * 5)
            wait_for_start(evaluator)
            raise RuntimeError("the search went wrong")


def wait_for_start(evaluator: Any) -> None:
    while not any(worker.ready and worker.in_flight for worker in list(evaluator._backend.pool.workers.values())):
        threading.Event().wait(0.01)


def exits() -> None:
    with MPICommEvaluator(double) as evaluator:
        if evaluator.is_master:
            sys.exit(7)


def forgets_to_close() -> None:
    evaluator = MPICommEvaluator(double)
    if evaluator.is_master:
        evaluator.submit([{"x": 1}])
        say(got=evaluator.gather()[0].objective)


def is_unreachable() -> None:
    with MPICommEvaluator(Unreachable(), job_timeout=0.2) as evaluator:
        evaluator.submit([{}])
        say(got=evaluator.gather()[0].objective)


def forces() -> None:
    """A job that hangs in Python is interrupted, and its rank works on."""

    def run(job: Any) -> float:
        return hang(job) if job["x"] == 0 else double(job)

    with MPICommEvaluator(run, job_timeout=0.3, num_workers=1) as evaluator:
        evaluator.submit([{"x": 0}, {"x": 1}])
        say(got=[job.objective for job in evaluator.gather()])


def interrupted() -> None:
    with MPICommEvaluator(hang) as evaluator:
        evaluator.submit([{}] * 5)
        wait_for_start(evaluator)
        say(ready=os.getpid())
        evaluator.gather()


def crashes() -> None:
    def run(job: Any) -> float:
        if job["x"] == 1:
            os._exit(3)
        return hang(job) if job["x"] == 2 else double(job)

    with MPICommEvaluator(run, isolation="process", job_timeout=3.0) as evaluator:
        jobs = evaluator.submit([{"x": n} for n in range(6)])
        evaluator.gather()
        say(got=[job.objective for job in jobs])


def idle() -> None:
    """The CPU time of a root that waits for long jobs, and of ranks that wait for jobs."""

    def run(job: Any) -> float:
        used = time.process_time()
        threading.Event().wait(0.6)
        return time.process_time() - used

    with MPICommEvaluator(run, num_workers=1) as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
        used = time.process_time()
        evaluator.submit([{}])
        (job,) = evaluator.gather()
        say(root=time.process_time() - used < 0.12, rank=job.objective < 0.12)


def counts() -> None:
    """What a job costs the root: messages of jobs out, messages of outcomes in, bytes of both, calls in its thread."""
    from tests.evaluator.workloads import as_a_search, calls, in_bulk

    from evalpool._mpi._crew import Crew
    from evalpool._mpi._polling import PollingBackoff

    counted = dict.fromkeys(["sent", "received", "bytes"], 0)
    post, receive = Crew.post, Crew.receive

    def counting_post(self: Any, comm: Any, data: Any, rank: int, tag: int) -> Any:
        counted["sent"] += 1
        counted["bytes"] += len(data)
        return post(self, comm, data, rank, tag)

    def counting_receive(self: Any, comm: Any, status: Any) -> bytearray:
        data = receive(self, comm, status)
        counted["received"] += 1
        counted["bytes"] += len(data)
        return data

    with MPICommEvaluator(double, storage=NullStorage()) as evaluator:
        for way in (as_a_search, in_bulk):
            way(evaluator, 50)
            for _ in range(3):
                made = calls(lambda way=way: way(evaluator, 2000), PollingBackoff.wait) / 2000
                Crew.post, Crew.receive = counting_post, counting_receive
                counted.update(dict.fromkeys(counted, 0))
                way(evaluator, 2000)
                Crew.post, Crew.receive = post, receive
                say(way=way.__name__, calls=made, **{name: count / 2000 for name, count in counted.items()})


def wakes() -> None:
    """A search loop on ranks that sleep until they are woken, or for 20 s."""
    import evalpool._mpi._polling as polling

    polling.LONGEST = 20.0
    _loop("wakes", 300)


def sleeps_apart() -> None:
    """A search loop on ranks of which one cannot be woken by the others, as if it were on another host."""
    from mpi4py import MPI

    import evalpool._mpi._bells as bells

    if MPI.COMM_WORLD.rank == 2:
        bells._place = lambda: "another host"
    _loop("sleeps_apart", 100)


def _loop(name: str, jobs: int) -> None:
    with MPICommEvaluator(double) as evaluator:
        crew = evaluator._backend._crew
        if evaluator.is_master:
            evaluator.submit([{"x": 1.0}] * 4)
            got: list[Any] = []
            while len(got) < jobs:
                done = evaluator.gather("BATCH", 1)
                got += [job.objective for job in done]
                evaluator.submit([{"x": 1.0}] * len(done))
            evaluator.gather()
            say(all_done={*got} == {2.0})
    say(rank=crew.rank, woken=crew.bell() is not None)


def steals_back() -> None:
    """A job that was prefetched by a rank that turns out to be busy for long goes to another."""

    def run(job: Any) -> float:
        threading.Event().wait(job["x"])
        return job["x"]

    with MPICommEvaluator(run, num_workers=2) as evaluator:
        evaluator.submit([{"x": 0.0}] * 2)
        evaluator.gather()
        began = time.monotonic()
        evaluator.submit([{"x": 2.0}, *[{"x": 0.01}] * 3])
        evaluator.gather("BATCH", 3)
        say(soon=time.monotonic() - began < 1.5)


def together() -> None:
    """Every rank searches, over threads of its own; rank 0 ends early, rank 2 late."""
    evaluator_class: Any = distributed("mpi")(ThreadPoolEvaluator)
    path = os.path.join(os.getcwd(), f"table-{os.environ.get('PMI_RANK', os.environ.get('OMPI_COMM_WORLD_RANK'))}.csv")
    with evaluator_class(double, num_workers=2, callbacks=[CSVLoggerCallback(path)]) as evaluator:
        own, others = [], []
        for n in range(10 + 10 * evaluator.rank):
            evaluator.submit([{"x": n}])
            own += evaluator.gather("BATCH", 1)
            others += evaluator.gather_other_jobs_done()
        if evaluator.rank == 2:  # late: until it has heard of all that the others have done
            while len(others) < 30:
                others += evaluator.gather_other_jobs_done()
        ids = [job.id for job in own + others]
        say(
            rank=evaluator.rank, size=evaluator.size, workers=evaluator.num_total_workers,
            own=[job.number for job in own], once=len(ids) == len(set(ids)), heard=len(others),
        )  # fmt: skip


def capped() -> None:
    """The cap counts the jobs of all ranks."""
    evaluator_class: Any = distributed("mpi")(ThreadPoolEvaluator)
    with evaluator_class(double) as evaluator:
        evaluator.set_maximum_num_jobs_submitted(20)
        count = 0
        try:
            while True:
                evaluator.submit([{"x": 1}])
                count += 1
        except MaximumJobsSpawnReached:
            say(submitted=count)


def bad_root() -> None:
    """What is wrong on the root is told to the others, who would wait for ever."""
    from mpi4py import MPI

    from evalpool.errors import EvalpoolError

    kwargs = {"num_workers": 0} if MPI.COMM_WORLD.rank == 0 else {}
    evaluator_class: Any = distributed("mpi")(ThreadPoolEvaluator)
    try:
        evaluator_class(double, **kwargs)
    except EvalpoolError as error:
        say(error=type(error).__name__)


def stacked() -> None:
    """Decorators in every order; one rank cannot make the first, and the others count on without it."""
    from itertools import permutations

    from mpi4py import MPI

    def run(job: Any, dequed: Any) -> dict[str, Any]:
        return {"objective": dequed[0], "runtime": 1.0}

    rank = MPI.COMM_WORLD.rank
    evaluator_class: Any = distributed("mpi")(ThreadPoolEvaluator)
    try:
        with evaluator_class(double, num_workers=0 if rank == 1 else 2) as evaluator:
            say(workers=evaluator.num_total_workers)
    except BadArgument:
        say(workers=None)
    for order in permutations([queued, distributed("mpi"), simulated]):
        evaluator_class = ThreadPoolEvaluator
        for decorator in order:
            evaluator_class = decorator(evaluator_class)
        with evaluator_class(run, num_workers=2, queue=[7]) as evaluator:
            evaluator.submit([{"x": 1}] * 2)
            say(objectives=[job.objective for job in evaluator.gather()], workers=evaluator.num_total_workers)


def storage() -> None:
    """Ranks write and read one log; the root may end first."""
    storage = MPIStorage()
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    search = comm.bcast(storage.create_new_search() if comm.rank == 0 else None)
    mine = [storage.create_new_job(search) for _ in range(20)]
    for job in mine:
        storage.store_job_out(job, comm.rank)
    if comm.rank != 2:
        return
    while len(storage.load_out_from_all_jobs(search)) < 60:
        threading.Event().wait(0.01)
    jobs = storage.load_all_job_ids(search)
    say(jobs=len(jobs), exact=jobs == [f"{search}.{n}" for n in range(60)])


def storage_in_jobs() -> None:
    def run(job: Any) -> float:
        job.storage.store_job_metadata(job.id, "seen", job["x"])
        return job["x"]

    with MPICommEvaluator(run, storage=MPIStorage()) as evaluator:
        evaluator.submit([{"x": n} for n in range(10)])
        evaluator.gather()
        seen = evaluator.storage.load_metadata_from_all_jobs(evaluator.search_id, "seen")
        say(seen=sorted(seen), results=len(evaluator.results()))


def told() -> None:
    """A search that its batch system tells to end."""
    from evalpool import stops_on_sigterm
    from evalpool.storage import SQLiteStorage

    def run(job: Any) -> float:
        return hang(job) if job["x"] else 1.0

    with stops_on_sigterm(also=(signal.SIGUSR1,)), SQLiteStorage("told.db") as storage:
        with MPICommEvaluator(run, storage=storage) as evaluator:
            evaluator.submit([{"x": n} for n in range(6)])
            evaluator.gather("BATCH", 1)
            wait_for_start(evaluator)
            say(ready=os.getpid())
            evaluator.gather()


def ctrl_c() -> None:
    """A search in a terminal, and nothing that prepares it for an end."""
    from evalpool.storage import SQLiteStorage

    def run(job: Any) -> float:
        return hang(job) if job["x"] else 1.0

    with SQLiteStorage("told.db") as storage, MPICommEvaluator(run, storage=storage) as evaluator:
        if evaluator.is_master:
            evaluator.submit([{"x": n} for n in range(6)])
            evaluator.gather("BATCH", 1)
            wait_for_start(evaluator)
            say(ready=os.getpid())
            evaluator.gather()


def isolated() -> None:
    """In children: lent resources, a profile, retries after crashes, a storage, going on with what was suspended."""
    from evalpool import profile, queued
    from evalpool.storage import JournalStorage

    @profile(memory=True)
    def run(job: Any, dequed: Any) -> float:
        if job["x"] == 1 and job.attempt == 1:
            os._exit(3)
        job.storage.store_search_value(job.id.partition(".")[0], f"seen {job.id}", dequed[0])
        return hang(job) if job["x"] == 2 and job.attempt < 3 else double(job)

    evaluator_class: Any = queued(MPICommEvaluator)
    kwargs: Any = {"isolation": "process", "queue": ["a"], "retries": 1}
    with JournalStorage("journal") as storage:
        for search_id in (None, "latest"):
            evaluator = evaluator_class(run, storage=storage, search_id=search_id, **kwargs)
            again = evaluator.resume()
            if search_id is None:
                evaluator.submit([{"x": n} for n in range(4)])
                evaluator.gather("BATCH", 2)
                while "seen 0.2" not in storage._search("0").values:
                    threading.Event().wait(0.01)
            else:
                evaluator.gather()
            say(again=again, left=len(evaluator.suspend()))
        records = storage.records("0")
        say(
            objectives=[record.objective for record in records],
            seen=sorted(storage._search("0").values)[-4:],
            measured=all(record.metadata["memory"] > 1_000_000 for record in records),
        )


def virtual() -> None:
    """Searches in simulated time have the trace that they have on `serial`."""
    from tests.simulation.traces import SEARCHES

    for name, search in SEARCHES.items():
        here, real = search(MPICommEvaluator, 2), search(SerialEvaluator, 1)
        say(name=name, same=here == real, jobs=len(here[1]))


def compared() -> None:
    """The cells of a comparison run on ranks."""
    from tests.simulation.traces import cells

    say(digests=cells("mpi"))


def virtual_everywhere() -> None:
    """The same, where every rank runs the script."""
    from evalpool import simulated

    with simulated(MPICommEvaluator)(lambda job: {"objective": 1.0, "runtime": job["r"]}, real_workers=2) as evaluator:
        if evaluator.is_master:
            evaluator.submit([{"r": r} for r in (2.0, 1.0)])
            say(ends=[job.metadata["virtual_end"] for job in evaluator.gather()])


def below_a_rank() -> None:
    """Run-functions that initialise MPI in processes below ranks: each is a program of its own, with one rank."""
    from evalpool import ProcessPoolEvaluator, profile

    def run(job: Any) -> Any:
        from mpi4py import MPI

        known = [name for name in os.environ if name.startswith(("PMI", "OMPI_", "PRTE", "HYDI_", "MPI_LOCAL"))]
        return {"objective": float(MPI.COMM_WORLD.size), "metadata": {"known": known}}

    makes: list[Any] = [
        lambda: MPICommEvaluator(run, isolation="process", job_timeout=30),
        lambda: MPICommEvaluator(profile(memory=True)(run)),
        lambda: ProcessPoolEvaluator(run),
    ]
    for make in makes:
        with make() as evaluator:
            evaluator.submit([{"x": n} for n in range(2)])
            say(got=[(job.objective, job.metadata.get("known"), job.error) for job in evaluator.gather()])


def reach() -> None:
    """Storages of ranks are refused where the workers are children of ranks, or elsewhere."""
    from evalpool import ProcessPoolEvaluator
    from evalpool.errors import NotShareable

    storage = MPIStorage()
    for make in (
        lambda: ProcessPoolEvaluator(double, storage=storage),
        lambda: MPICommEvaluator(double, storage=storage, isolation="process"),
    ):
        try:
            make()
        except NotShareable as error:
            say(error=str(error))
    with MPICommEvaluator(double, storage=storage) as evaluator:
        evaluator.submit([{"x": 1}])
        say(got=evaluator.gather()[0].objective)


def unopened() -> None:
    """A storage that a rank cannot open is no trouble to jobs that do not use it."""
    from evalpool.storage import JournalStorage

    class Shy(JournalStorage):
        def __reduce__(self) -> Any:
            return open, ("/no such disk/here",)

    def run(job: Any) -> float:
        return double(job) if job["x"] else job.storage.load_all_search_ids()

    with Shy("journal") as storage, MPICommEvaluator(run, storage=storage) as evaluator:
        jobs = evaluator.submit([{"x": n} for n in range(2)])
        evaluator.gather()
        say(got=[job.objective for job in jobs])


def wrong_arguments() -> None:
    for wrong in ({"num_workers": 99}, {"root": 17}, {"isolation": "thread"}, {"comm": "world"}, {"busy_wait": 1}):
        try:
            MPICommEvaluator(double, **wrong)
        except ValueError as error:
            say(error=str(error))


def open_in_a_job(job: Any) -> float:
    if job["what"] == "storage":
        MPIStorage()
    with Evaluator.create(double, job["what"]) as evaluator:
        evaluator.submit([{"x": 2.0}])
        return float(evaluator.gather()[0].objective)


def evaluators_in_jobs() -> None:
    with MPICommEvaluator(open_in_a_job) as evaluator:
        if evaluator.is_master:
            jobs = evaluator.submit([{"what": what} for what in ("mpicomm", "storage", "thread")])
            evaluator.gather()
            for job in jobs:
                say(objective=job.objective, error=job.error or "")


def versions() -> None:
    """One rank says that it has another version."""
    import evalpool._mpi._crew as crew
    from evalpool.errors import BackendError

    if crew.load_mpi().COMM_WORLD.rank == 1:
        crew.__version__ = "0.0.1"
    try:
        MPICommEvaluator(double)
    except BackendError as error:
        say(error=str(error))


def thread_level() -> None:
    import mpi4py

    from evalpool.errors import BackendError

    mpi4py.rc.thread_level = "funneled"
    try:
        MPICommEvaluator(double)
    except BackendError as error:
        say(error=str(error))


def stores() -> None:
    """Every storage that says it is shared takes what jobs write; the others are refused."""
    from evalpool.errors import NotShareable
    from evalpool.storage import (
        JournalStorage,
        MemoryStorage,
        MPIStorage,
        RedisStorage,
        SharedMemoryStorage,
        SQLiteStorage,
        Storage,
    )  # fmt: skip

    def run(job: Any) -> float:
        job.storage.store_search_value("0", f"seen {job['x']}", job["x"])
        return double(job)

    made: list[Storage] = [
        JournalStorage("journal"), RedisStorage.from_url(sys.argv[1]), MPIStorage(), SQLiteStorage("results.db"),
        SharedMemoryStorage(), MemoryStorage(),
    ]  # fmt: skip
    for storage in made:
        with storage:
            try:
                with MPICommEvaluator(run, storage=storage) as evaluator:
                    evaluator.submit([{"x": n} for n in range(4)])
                    got = sorted(job.objective for job in evaluator.gather())
                    seen = [storage.load_search_value("0", f"seen {n}") for n in range(4)]
                    say(storage=type(storage).__name__, got=got, seen=seen, records=len(storage.records("0")))
            except NotShareable as error:
                say(storage=type(storage).__name__, error=str(error))


def run_all(names: list[str]) -> None:
    """Run programs one after the other; exit code 1 if one of them raised."""
    here, code = os.getcwd(), 0
    for name in names:
        running["program"] = name
        os.makedirs(name, exist_ok=True)
        os.chdir(name)
        try:
            globals()[name]()
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            os.chdir(here)
    sys.exit(code)


if __name__ == "__main__":
    name, sys.argv = sys.argv[1], [sys.argv[0], *sys.argv[2:]]
    if "," in name:
        run_all(name.split(","))
    else:
        globals()[name]()
