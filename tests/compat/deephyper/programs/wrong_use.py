"""Wrong uses of `install` and of two worlds at once; prints what each says."""

import sys
import threading
import warnings

import evalpool
from evalpool import CompatError
from evalpool.compat import deephyper as compat
from evalpool.compat.deephyper.evaluator import Evaluator, HPOJob


def said(name, call, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            call(*arguments)
            text = "nothing"
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
    text = " | ".join([text, *(str(w.message) for w in caught if "deephyper" in str(w.message))])
    print(f"{name}: {text}")


def run(job):
    return job["x"]


said("uninstall first", compat.uninstall)
sys.modules["deephyper"] = None
said("without", compat.install)
del sys.modules["deephyper"]

compat.install()
said("twice", compat.install)
from deephyper.hpo import HpProblem, RandomSearch

problem = HpProblem()
problem.add((0.0, 1.0), "x")


def search(evaluator):
    return RandomSearch(problem, log_dir="nowhere", checkpoint_history_to_csv=False).search(evaluator, max_evals=2)


import deephyper.evaluator as room
import deephyper.hpo._search as searching

assert room.Evaluator is searching.Evaluator is Evaluator
assert len(search(run)) == 2
said("core", search, evalpool.SerialEvaluator(run))
compat.uninstall()
assert room.Evaluator is searching.Evaluator is not Evaluator
assert room.Evaluator.__module__ == "deephyper.evaluator._evaluator"
theirs = room.Evaluator.create(run, method="thread")
said("ours without install", search, Evaluator.create(run, method="thread"))
their_job, their_storage = room.HPOJob, room.storage.MemoryStorage()
compat.install()
said("theirs", search, theirs)
said("storage", lambda: Evaluator.create(run, "serial", {"storage": their_storage}))
ours = Evaluator.create(run, method="thread")
ours._job_class = their_job
said("job class", ours.submit, [{"x": 1}])
said("no evaluator", search, 3)
compat.uninstall()

sys.modules["deephyper"].__version__ = "0.14.1"
said("unknown version", compat.install)
assert room.HPOJob is HPOJob
compat.uninstall()
said("undone", compat.uninstall)


def in_worker(job):
    """`install` was called in the evaluator's process."""
    compat.uninstall()
    compat.install()
    import deephyper.evaluator as room

    modules = [room.Evaluator.__module__]
    compat.uninstall()
    modules.append(room.Evaluator.__module__)
    return modules


outcomes = []


def installs():
    together.wait()
    try:
        compat.install()
        outcomes.append("installed")
    except CompatError as error:
        outcomes.append(type(error).__name__)


together = threading.Barrier(3)
threads = [threading.Thread(target=installs) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("threads:", *sorted(outcomes))
with Evaluator.create(in_worker, method="process") as evaluator:
    evaluator.submit([{}])
    print("in a worker:", *evaluator.gather("ALL")[0].output)
