"""deephyper's searches: single and several objectives, failures, called twice, limits, early stopping, one storage.

    python searches.py (deephyper | evalpool) METHOD

Prints the same with deephyper alone and with evalpool's evaluators in it, on every method.
"""

import sys
import tempfile
import time
import warnings

world, method = sys.argv[1:]
if world == "evalpool":
    from evalpool.compat.deephyper import install

    install()
warnings.simplefilter("ignore")

import status_of_module
from deephyper.evaluator import Evaluator, HPOJob, profile
from deephyper.evaluator.callback import SearchEarlyStopping, TqdmCallback
from deephyper.evaluator.storage import MemoryStorage, SharedMemoryStorage
from deephyper.hpo import CBO, HpProblem, RandomSearch, RegularizedEvolution
from deephyper.stopper import ConstantStopper, MedianStopper, SuccessiveHalvingStopper

CHEAP = {
    "surrogate_model": "ET",
    "surrogate_model_kwargs": {"n_estimators": 4},
    "acq_optimizer": "sampling",
    "n_initial_points": 3,
    "acq_optimizer_kwargs": {"n_points": 50},
}

problem = HpProblem()
problem.add((0.0, 10.0), "x")
problem.add((0, 10), "n")
problem.add(["a", "b"], "kind")


def single(job):
    return -((job["x"] - 2) ** 2) - job["n"] / 10


def several(job):
    return -((job["x"] - 2) ** 2), -job["n"]


def failing(job):
    return "F_large" if job["n"] > 4 else job.parameters["x"]


@profile
def profiled(job):
    return {"objective": job["x"], "metadata": {"number": job["job_id"]}}


def several_fail(job):
    return several(job) if job["n"] < 4 else ("F_a", "F_b")


def first_fails(job):
    return several(job) if job["job_id"] else "F_first"


def raising(job):
    return 1 / (job["n"] % 2)


def long(job):
    for step in range(2000):
        time.sleep(0.005)
        if job.status.name == "CANCELLING":
            break
    return {"objective": job["x"], "metadata": {"ended": step < 1999}}


def stepwise(job):
    total = 0.0
    for step in range(1, 11):
        total += job["x"]
        job.record(step, total)
        if job.stopped():
            break
    seen = type(job.stopper).__name__, job.stopper.observed_objectives[-1] == job.objective == total
    return {"objective": total, "metadata": {"steps": step, "seen": str(seen)}}


def storage():
    if method == "ray":
        from deephyper.evaluator.storage import RayStorage

        return RayStorage()
    if method == "mpicomm":
        from deephyper.evaluator.storage import MPIWinStorage
        from mpi4py import MPI

        return MPIWinStorage(comm=MPI.COMM_WORLD, size=10_000_000)
    return SharedMemoryStorage() if method in ("process", "loky") else MemoryStorage()


def on(function, use, **kwargs):
    """`use(evaluator)` in the process that searches."""
    if method not in ("mpicomm", "ray"):
        kwargs["num_workers"] = 1
    if method == "ray":
        kwargs.update(num_cpus=1, num_workers=1, password="secret", include_dashboard=False)
    with Evaluator.create(function, method=method, method_kwargs=kwargs) as evaluator:
        if evaluator.is_master:
            use(evaluator)


def search(cls=RandomSearch, **kwargs):
    return cls(problem, random_state=7, log_dir=tempfile.mkdtemp(), verbose=0, **kwargs)


def show(name, results):
    print(name, len(results), list(results.columns))
    for row in results.filter(regex="^(p:|objective|job_|pareto|sol|m:[^t])").itertuples(index=False):
        print("   ", *(f"{v:.6g}" if isinstance(v, float) else v for v in row))


def twice(evaluator):
    one = search(CBO, solution_selection="argmax_obs", **CHEAP)
    show("first call", one.search(evaluator, max_evals=4))
    show("second call", one.search(evaluator, max_evals=3))


def limits(evaluator):
    show("strict", search().search(evaluator, max_evals=5, max_evals_strict=True))
    show("strict again", search().search(evaluator, max_evals=2, max_evals_strict=True))


def budget(evaluator):
    begin = time.monotonic()
    results = search().search(evaluator, timeout=1)
    print("budget", len(results), set(results["job_status"]), time.monotonic() - begin < 30)
    if "m:ended" in results:  # else its worker was not up by then
        assert all(results["m:ended"])
        assert all(results["objective"] == results["p:x"])


def restarted():
    """A search that goes on from the table that another one left, in another program."""
    dummy = {"surrogate_model": "DUMMY", "log_dir": tempfile.mkdtemp(), "checkpoint_restart": True, "random_state": 7}
    for _ in range(2):
        on(single, lambda e: show("restarted", CBO(problem, **dummy).search(e, max_evals=3)))


def two_searches():
    kept = storage()

    def first(evaluator):
        show("first of two", search().search(evaluator, max_evals=3))
        ids.append(evaluator._search_id)

    def second(evaluator):
        show("second of two", search(CBO, **CHEAP).search(evaluator, max_evals=6))
        data = kept.load_search(evaluator._search_id)
        print(sorted(data), [data[key]["in"]["args"][0]["n"] for key in sorted(data)], data["0"]["status"])

    ids = []
    on(single, first, storage=kept)
    if method == "mpicomm":
        from mpi4py import MPI

        ids = MPI.COMM_WORLD.bcast(ids)
    on(single, second, storage=kept, search_id=ids[0])


if __name__ == "__main__":
    on(single, lambda e: show("CBO, single", search(CBO, **CHEAP).search(e, max_evals=6)))
    on(several, lambda e: show("CBO, several", search(CBO, **CHEAP).search(e, max_evals=6)))
    on(failing, lambda e: show("CBO, failures", search(CBO, **CHEAP).search(e, max_evals=8)))
    on(several_fail, lambda e: show("CBO, several and failures", search(CBO, **CHEAP).search(e, max_evals=8)))
    on(several, lambda e: show("random, several", search().search(e, max_evals=4)))
    on(profiled, twice)
    on(status_of_module.run, lambda e: show("module", search().search(e, max_evals=2)))
    evolution = {"cls": RegularizedEvolution, "population_size": 3, "sample_size": 2}  # draws from no seed
    if method in ("thread", "serial"):
        on(single, lambda e: print("evolution", len(search(**evolution).search(e, 5)), file=sys.stderr))
    on(single, limits)
    on(long, budget)
    stopping = SearchEarlyStopping(patience=3, threshold=-1e9, verbose=False)

    def early(evaluator):
        show("early", search().search(evaluator, 50))
        print(stopping.search_stopped)

    on(single, early, callbacks=[stopping, TqdmCallback()])
    for stopper in (ConstantStopper(10, 4), SuccessiveHalvingStopper(10), MedianStopper(10, min_competing=2)):
        on(stepwise, lambda e, s=stopper: show(type(s).__name__, search(stopper=s).search(e, max_evals=7)))
    restarted()
    two_searches()
    if world == "evalpool":  # there the one ends the search, and of the other the second call ends at once

        def after_budget(evaluator):
            search().search(evaluator, timeout=1)
            return len(search().search(evaluator, max_evals=3, max_evals_strict=True))

        def not_up(evaluator):
            evaluator._job_class = HPOJob
            evaluator.timeout = 0.01
            evaluator.submit([problem.default_configuration])
            assert [job.objective for job in evaluator.gather("ALL")] == ["F_CANCELLED"]

        if method == "ray":
            on(single, not_up)  # no worker of Ray's starts so fast
        on(raising, lambda e: print(set(search().search(e, 9)["objective"]) == {1.0, "F_ZeroDivisionError"}))
        on(single, lambda e: print(after_budget(e)))
        on(first_fails, lambda e: print(search().search(e, 4)["objective_1"].eq("F_first").sum()))
    if method == "mpicomm":
        from mpi4py import MPI

        time.sleep(0 if MPI.COMM_WORLD.Get_rank() else 1)  # mpirun kills who is late, if others end without MPI
