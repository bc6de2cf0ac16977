"""A process that forks while its workers run: the child is no second owner of them."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable

import psutil
import pytest

from faults.programs import GONE, Program, assert_gone

pytestmark = pytest.mark.slow

Start = Callable[..., Program]

FORK = """
    import multiprocessing
    from evalpool.callbacks import CSVLoggerCallback
    from evalpool.storage import SQLiteStorage

    method, how = sys.argv[1:]
    storage = SQLiteStorage("results.db")
    callbacks = [CSVLoggerCallback("results.csv")]
    run = culprits.mostly_harmless
    if method == "profile":
        method, run = "thread", profile(memory=True)(run)
    evaluator = Evaluator.create(run, method, {"num_workers": 2, "storage": storage, "callbacks": callbacks})
    with evaluator:
        jobs = evaluator.submit([{"do": "wait for file", "file": "go on"}] + [{"x": n} for n in range(200)])
        done = evaluator.gather("BATCH", 20)
        if how == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=print, args=("of the child",))
            child.start()
            child.join(20)
            code = child.exitcode
        else:
            pid = os.fork()
            if pid == 0:
                if how == "os._exit":
                    os._exit(0)
                if how == "closes":
                    evaluator.close()
                    os._exit(0)
                if how == "gathers":
                    evaluator.gather("BATCH", 1, timeout=0)
                    evaluator.cancel(jobs)
                    os._exit(0)
                sys.exit(0)  # through the end of `with` and of the interpreter
            _, status = os.waitpid(pid, 0)
            code = os.waitstatus_to_exitcode(status)
        say("child ended", code)
        open("go on", "w").close()
        done += evaluator.gather("ALL")
        assert sorted(job.number for job in done) == list(range(201))
        assert {job.status.value for job in done} == {"DONE"}, [job for job in done if job.error][0].error
        more = evaluator.submit([{"x": 1}] * 4)
        assert [job.objective for job in evaluator.gather()] == [10.0] * 4
    say("closed")
    states = storage.load_search(evaluator.search_id)
    assert {state["status"].value for state in states.values()} == {"DONE"}
"""


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("thread", "sys.exit"),
        ("thread", "multiprocessing"),
        ("profile", "sys.exit"),
        ("process", "sys.exit"),
        ("process", "os._exit"),
        ("process", "closes"),
        ("process", "gathers"),
        ("process", "multiprocessing"),
    ],
)
def test_a_forked_child_that_ends_takes_nothing_from_its_parent(program: Start, method: str, how: str) -> None:
    search = program(FORK, method, how)
    assert search.expect("child ended") == "0"
    search.tree()
    search.expect("closed")
    assert search.wait() == 0, search.report()
    search.assert_nothing_is_left()
    assert search.stderr() == ""
    with (search.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["job_id"]) for row in rows) == list(range(205))
    assert {row["job_status"] for row in rows} == {"DONE"}


@pytest.mark.parametrize("method", ["process", "profile"])
def test_a_forked_child_warns_of_nothing_that_is_its_parents(program: Start, method: str) -> None:
    search = program(
        """
        run = culprits.mostly_harmless
        if sys.argv[1] == "profile":
            run = profile(memory=True)(run)
        with Evaluator.create(run, "thread" if sys.argv[1] == "profile" else "process") as evaluator:
            evaluator.submit([{"x": 1}])
            evaluator.gather()
            pid = os.fork()  # while nothing runs: all that the workers have is reachable, and collected
            if pid == 0:
                del run
                import gc
                evaluator.close()
                del evaluator
                gc.collect()
                sys.exit(0)
            say("child ended", os.waitpid(pid, 0)[1])
        """,
        method,
    )
    assert search.expect("child ended") == "0"
    assert search.wait() == 0
    assert search.stderr() == ""


OUTLIVE = """
    method = sys.argv[1]
    run = culprits.mostly_harmless
    if "profile" in sys.argv:
        run = profile(memory=True)(run)
    evaluator = Evaluator.create(run, method, {"num_workers": 1})
    evaluator.submit([{"x": 1}])
    evaluator.gather()
    evaluator.submit([{"do": sys.argv[2]}])
    while not os.path.exists("fork"):
        threading.Event().wait(0.005)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        threading.Event().wait(60)
        os._exit(0)
    say("child", pid)
    if "closes" in sys.argv:
        evaluator.close()
        say("closed")
    threading.Event().wait(60)
"""


@pytest.mark.parametrize("more", [(), ("profile",)], ids=["plain", "profile"])
@pytest.mark.parametrize("deed", ["hog", "hang"])
def test_workers_end_with_their_parent_though_a_forked_child_lives(
    program: Start, deed: str, more: tuple[str, ...]
) -> None:
    method = "thread" if more else "process"
    search = program(OUTLIVE, method, deed, *more)
    search.expect("begun")
    workers = search.tree()
    (search.folder / "fork").touch()
    child = psutil.Process(int(search.expect("child")))
    search.watch([child.pid])
    search.kill()
    assert search.wait() == -signal.SIGKILL
    assert_gone(workers, GONE)
    assert child.is_running()
    child.kill()


def test_closing_ends_all_workers_though_a_forked_child_lives(program: Start) -> None:
    search = program(OUTLIVE, "process", "hang", "closes")
    search.expect("begun")
    workers = search.tree()
    (search.folder / "fork").touch()
    child = psutil.Process(int(search.expect("child")))
    search.watch([child.pid])
    search.expect("closed")
    assert_gone(workers, GONE)
    assert child.is_running()
    child.kill()


def test_a_forked_child_may_have_an_evaluator_of_its_own(program: Start) -> None:
    search = program(
        """
        with Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 1}) as evaluator:
            evaluator.submit([{"x": 1}])
            assert len(evaluator.gather()) == 1
            pid = os.fork()
            if pid == 0:
                with Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 1}) as own:
                    own.submit([{"x": 2}])
                    say("of the child", own.gather()[0].objective)
                sys.exit(0)
            evaluator.submit([{"x": 3}])
            say("of the parent", evaluator.gather()[0].objective)
            assert os.waitpid(pid, 0)[1] == 0
        say("closed")
        """
    )
    heard = [search.expect("of the") for _ in range(2)]
    assert sorted(heard) == ["child 20.0", "parent 30.0"]
    search.expect("closed")
    assert search.wait() == 0
    assert search.stderr() == ""


def test_forks_at_any_moment_harm_nobody(program: Start) -> None:
    search = program(
        """
        method = sys.argv[1]
        stop = threading.Event()
        codes = []

        def fork():
            while not stop.is_set() and len(codes) < 60:
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        with Evaluator.create(culprits.mostly_harmless, method, {"num_workers": 2}) as evaluator:
            thread = threading.Thread(target=fork)
            thread.start()
            found = 0
            while thread.is_alive():
                evaluator.submit([{"x": n} for n in range(50)])
                found += len(evaluator.gather())
            stop.set()
            thread.join()
        say("done", found == evaluator.num_jobs_submitted, set(codes))
        """,
        "process",
        environment={"PYTHONWARNINGS": "ignore::DeprecationWarning"},  # of forks in threads, from 3.12 on
    )
    assert search.expect("done") == "True {0}"
    assert search.wait() == 0
    assert search.stderr() == ""


GOES_ON = """
    import asyncio
    import ctypes
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from evalpool import ExecutorEvaluator

    def fork(job):
        # Where C code forks, no hook of Python's runs in the child.
        pid = ctypes.PyDLL(None).fork() if job["how"] == "in C" else os.fork()
        if pid == 0:
            if job["how"] == "raises":
                os.execv("/no/such/program", ["program"])
            if job["how"] == "sys.exit":
                sys.exit(7)
            return -1.0
        return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    async def afork(job):
        await asyncio.sleep(0)
        return fork(job)

    def evaluator_of(name):
        if name == "executor":
            return ExecutorEvaluator(fork, executor=pool)
        if name == "profile":
            return Evaluator.create(profile(memory=True)(fork), "serial")
        method, _, form = name.partition(" ")
        return Evaluator.create(afork if form else fork, method)

    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        for name in sys.argv[1:]:
            with evaluator_of(name) as evaluator:
                evaluator.submit([{"how": how} for how in ("raises", "sys.exit", "returns", "in C", "raises")])
                jobs = sorted(evaluator.gather(), key=lambda job: job.number)
                say("answers", name, [job.error or int(job.objective) for job in jobs])
    say("closed")
"""


def test_a_child_that_comes_out_of_the_run_function_answers_for_no_job(program: Start) -> None:
    names = ["serial", "serial async", "thread", "process", "process async", "profile", "executor"]
    search = program(GOES_ON, *names, environment={"PYTHONWARNINGS": "ignore::DeprecationWarning"})
    for name in names:
        assert search.expect("answers") == f"{name} [1, 7, 0, 0, 1]"
    search.expect("closed")
    assert search.wait() == 0
    search.assert_nothing_is_left()
    assert search.stderr().count("FileNotFoundError") == 2 * len(names)
