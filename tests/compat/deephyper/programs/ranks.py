"""An evaluator on ranks of MPI: what it says of settings that change, its storage, and what goes on over `close`.

    mpirun -n 2 python ranks.py

Rank 0 prints.
"""

import threading

from evalpool.compat.deephyper.evaluator import Evaluator
from evalpool.compat.deephyper.evaluator.mpi import MPI
from evalpool.compat.deephyper.evaluator.storage import MPIWinStorage

assert not MPI.Is_initialized(), "the import does not"
MPI.Init_thread()


def run(job, y=0):
    return [job["x"] + y, MPI.COMM_WORLD.Get_rank()]


def said(call, *arguments):
    try:
        return call(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


storage = MPIWinStorage(MPI.COMM_WORLD, 1000)
kwargs = {"storage": storage, "run_function_kwargs": {"y": 1}}
with Evaluator.create(run, method="mpicomm", method_kwargs=kwargs) as evaluator:
    if evaluator.is_master:
        evaluator.run_function_kwargs = {"y": 10}  # before the first jobs
        evaluator.submit([{"x": 1}])
        print([job.output for job in evaluator.gather("ALL")])
        evaluator.run_function_kwargs = {"y": 20}
        print(said(evaluator.submit, [{"x": 1}]))
        evaluator.run_function_kwargs = {"y": 10}
        print(evaluator.close())
        evaluator.submit([{"x": 2, "padding": "x" * 100_000}])
        print([job.output for job in evaluator.gather("ALL")])
        print(len(storage.load_job("0.1")["in"]["args"][0]["padding"]), "bytes in a window of 1000")
evaluator.close()  # all ranks, as programs do
if evaluator.is_master:
    threading.Event().wait(1)  # mpirun would kill who is late, if the others ended without telling MPI
    print("ends with the others")
